"""Every page answers, whatever state its persona is in, and shows what others wrote as text."""

from __future__ import annotations

import html
import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from studio_address import TOKEN
from studio_runs import HOSTILE, add_run

from personatune import files
from personatune.persona import Persona
from personatune.studio.forms import fields_of
from personatune.studio.run_views import name_of
from personatune.studio.studio import Studio
from personatune.training.recipe import Recipe

OF_PERSONA = ["", "/train", "/runs"]
STATES = ["finished", "interrupted", "failed", "training"]


def test_an_empty_workspace_says_how_to_begin(client: TestClient) -> None:
    page = client.get("/").text

    assert "No persona here yet" in page
    assert "Begin with Pip" in page
    assert client.get("/queue").status_code == 200


def test_a_built_in_character_is_one_click_away(client: TestClient, folder: Path) -> None:
    answer = client.post("/new", data={"start": "keeper", "token": TOKEN})

    assert answer.headers["location"] == "/p/keeper"
    assert (folder / "keeper" / "train.jsonl").exists()
    assert "Ansel Thorne" in client.get("/p/keeper").text
    assert client.post("/new", data={"start": "keeper", "token": TOKEN}).status_code == 400


@pytest.mark.parametrize("page", OF_PERSONA)
def test_pages_of_a_fresh_persona(client: TestClient, robin: Persona, page: str) -> None:
    answer = client.get(f"/p/robin{page}")

    assert answer.status_code == 200
    assert "<h1>" in answer.text


@pytest.mark.parametrize("page", ["/", *(f"/p/robin{page}" for page in OF_PERSONA)])
@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"", b"[]"])
def test_pages_of_a_persona_with_broken_conversations(
    client: TestClient, robin: Persona, page: str, content: bytes
) -> None:
    robin.train_file.write_bytes(content)

    assert client.get(page).status_code == 200


@pytest.mark.parametrize("content", [b"name = ", b"\xff", b"", b'name = "x"\nvoise = "y"\n', b"[" * 3000])
def test_a_broken_persona_file_is_explained_and_spoils_no_other_page(
    client: TestClient, robin: Persona, studio: Studio, content: bytes
) -> None:
    studio.workspace.new("gull")
    (robin.folder / "persona.toml").write_bytes(content)
    home = client.get("/")

    assert home.status_code == 200
    assert "Gull" in home.text
    assert "persona.toml" in home.text
    for page in OF_PERSONA:
        answer = client.get(f"/p/robin{page}")
        assert answer.status_code == 422
        assert "persona.toml" in answer.text
        assert "what to do" in answer.text


def test_a_broken_persona_file_is_mended_in_the_page(client: TestClient, robin: Persona) -> None:
    path = robin.folder / "persona.toml"
    path.write_text('name = "Rob\n# mine', "utf-8")
    seen = files.content_hash(path.read_text("utf-8"))
    assert "name = &#34;Rob" in client.get("/p/robin").text
    still = client.post("/p/robin/file", data={"text": "name = 3", "seen": seen, "token": TOKEN})

    assert still.status_code == 422
    assert "name = 3" in still.text  # what was typed is not lost
    assert path.read_text("utf-8") == 'name = "Rob\n# mine'
    late = client.post("/p/robin/file", data={"text": 'name = "R"', "seen": "0" * 64, "token": TOKEN})
    assert "has changed since" in late.text
    done = client.post("/p/robin/file", data={"text": 'name = "Rob"\r\n# mine', "seen": seen, "token": TOKEN})
    assert done.status_code == 303
    assert path.read_text("utf-8") == 'name = "Rob"\n# mine'
    assert sorted(entry.name for entry in robin.folder.iterdir()) == ["persona.toml", "suite.yaml", "train.jsonl"]
    assert client.post("/p/nobody/file", data={"text": 'name = "R"', "token": TOKEN}).status_code == 404


@pytest.mark.parametrize("status", STATES)
def test_a_run_in_every_state(client: TestClient, robin: Persona, status: str) -> None:
    name = add_run(robin, status)  # type: ignore[arg-type]
    told = "interrupted" if status == "training" else status  # nobody trains it

    for page in ("/", "/p/robin", "/p/robin/train", "/p/robin/runs", f"/p/robin/runs/{name}"):
        assert client.get(page).status_code == 200, page
    shown = client.get(f"/p/robin/runs/{name}").text
    assert f">{told}</span>" in shown
    assert ("Go on" in shown) == (told == "interrupted")


def test_a_run_that_says_hardly_anything_is_shown(client: TestClient, robin: Persona) -> None:
    name = add_run(robin, recipe={}, data={}, heldout={"nll_before": float("nan")}, stop={}, seconds={}, steps="many")
    add_run(robin, "interrupted", model={"id": "x"}, recipe=None, heldout=None)

    assert client.get(f"/p/robin/runs/{name}").status_code == 200
    assert client.get("/p/robin/runs/r2").status_code == 200
    assert client.get(f"/p/robin/runs/diff?a={name}&b=r2").status_code == 200
    assert client.get("/p/robin/train").status_code == 200


def test_what_differs_between_two_runs(client: TestClient, robin: Persona) -> None:
    add_run(robin)
    add_run(robin, epochs=5)
    page = client.get("/p/robin/runs/diff?a=r1&b=r2").text

    key = '<code class="diff-key">epochs</code>'
    assert f'<th scope="row">Epochs {key}</th><td data-label="r1">2</td><td data-label="r2">5</td>' in page
    assert "nll before" not in page
    assert client.get("/p/robin/runs/diff?a=r1&b=r9").status_code == 422


def test_every_recipe_key_is_called_what_the_training_form_calls_it() -> None:
    for field in fields_of(Recipe, {}):
        assert name_of(f"recipe.resolved.{field.name}") == field.label
        assert name_of(f"recipe.given.{field.name}") == f"{field.label}, as it was asked for"
    assert name_of("heldout.nll_after") == "Held-out loss after"
    assert name_of("tokens.of.all_rows") == "Tokens: of all rows"
    assert name_of("something_else") == "Something else"


def test_hostile_text_is_shown_as_text(client: TestClient, robin: Persona) -> None:
    add_run(robin, error=HOSTILE)
    toml = (robin.folder / "persona.toml").read_text("utf-8")
    hostile = HOSTILE.replace('"', '\\"')
    (robin.folder / "persona.toml").write_text(toml.replace('summary = ""', f'summary = "{hostile}"'), "utf-8")

    for page in ("/", "/p/robin", "/p/robin/train", "/p/robin/runs/r1"):
        text = client.get(page).text
        assert "<script>alert" not in text
    shown = client.get("/p/robin/runs/r1").text
    assert html.escape(HOSTILE, quote=False)[:60] in shown.replace("&#34;", '"')
    assert " long" * 12_000 in shown


def test_pages_that_are_not_there(client: TestClient, robin: Persona) -> None:
    for page in ("/nowhere", "/p/nobody", "/p/robin/nowhere"):
        assert client.get(page).status_code == 404
    assert client.get("/p/robin/runs/r7").status_code == 422
    part = client.get("/p/nobody", headers={"HX-Request": "true"})
    assert "<html" not in part.text
    assert "there is no persona" in part.text


def test_a_report_runs_in_an_origin_of_its_own_and_only_what_the_record_names_is_served(
    client: TestClient, robin: Persona
) -> None:
    from personatune.store.records import EvaluationRecord
    from personatune.store.store import Store

    (robin.folder.parent / "secret.html").write_text("secret", "utf-8")
    files.write_text(robin.runs_folder / "r1" / "report.html", "<h1>the report</h1>")
    with Store.open(robin.store_file) as store:
        for file in ("runs/r1/report.html", "../secret.html", "/etc/passwd", "runs/gone.html"):
            store.add_evaluation(EvaluationRecord(suite="s", contestants=("robin@r1",), report_file=file))
    answer = client.get("/p/robin/runs/reports/e1")

    assert answer.text == "<h1>the report</h1>"
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in answer.headers["content-security-policy"]
    for other in ("e2", "e3", "e4", "e5", "persona.toml"):
        refused = client.get(f"/p/robin/runs/reports/{other}")
        assert refused.status_code in (404, 422)
        assert "secret" not in refused.text.replace("secret.html", "")


def test_who_they_are_is_saved_and_every_comment_stays(client: TestClient, robin: Persona) -> None:
    path = robin.folder / "persona.toml"
    before = path.read_text("utf-8")
    seen = files.content_hash(before)
    sent = {"name": "Robin", "summary": "A bold bird.", "voice": 'Short.\r\nNever "polite".', "description": ""}
    answer = client.post("/p/robin", data={**sent, "seen": seen, "token": TOKEN})
    after = path.read_text("utf-8")

    assert answer.status_code == 303
    assert [line for line in before.splitlines() if line.startswith("#")] == [
        line for line in after.splitlines() if line.startswith("#")
    ]
    who = Persona.open(robin.folder).character
    assert who.summary == "A bold bird."
    assert who.voice == 'Short.\nNever "polite".\n'
    assert "Saved" in client.get(answer.headers["location"]).text


def test_a_change_on_disk_is_not_overwritten(client: TestClient, robin: Persona) -> None:
    path = robin.folder / "persona.toml"
    path.write_text('name = "Changed elsewhere"\n', "utf-8")
    answer = client.post("/p/robin", data={"name": "Mine", "seen": "0" * 64, "token": TOKEN})

    assert answer.status_code == 400
    assert "has changed since" in answer.text
    assert "Mine" in answer.text  # what was typed is not lost
    assert path.read_text("utf-8") == 'name = "Changed elsewhere"\n'


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("training", "epochs = 0"), ("training", "epochs ="), ("generation", "temperature = 9"),
     ("training", "epoch = 3"), ("generation", "[x]\ny = 1")],
)  # fmt: skip
def test_what_cannot_be_is_said_beside_what_was_typed_and_not_written(
    client: TestClient, robin: Persona, field: str, value: str
) -> None:
    path = robin.folder / "persona.toml"
    before = path.read_bytes()
    sent = {"name": "Robin", field: value, "seen": files.content_hash(path.read_text("utf-8")), "token": TOKEN}
    answer = client.post("/p/robin", data=sent)

    assert answer.status_code == 400
    assert path.read_bytes() == before


def test_a_training_from_the_page_is_the_command(client: TestClient, robin: Persona, studio: Studio) -> None:
    from personatune.training.recipe import Recipe

    defaults = {name: str(field.default) for name, field in Recipe.model_fields.items() if field.default is not None}
    sent = defaults | {"epochs": "7", "learning_rate": "0.0005", "model": "--fresh", "fresh": "1"}
    answer = client.post("/p/robin/train", data={**sent, "token": TOKEN})
    (job,) = studio.queue.jobs()

    assert answer.status_code == 303
    assert list(job.argv) == ["train", "robin", "--model=--fresh", "--epochs=7", "--learning-rate=0.0005", "--fresh"]
    assert job.folder == robin.folder.resolve()
    assert "Waiting" in client.get("/p/robin/train").text
    client.post(f"/queue/{job.id}/remove", data={"token": TOKEN})
    assert studio.queue.jobs() == []


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", "0"), ("epochs", "many"), ("vocab", "3"), ("method", "magic"), ("warmup", "1.5")]
)
def test_a_training_that_cannot_be_is_not_queued(
    client: TestClient, robin: Persona, studio: Studio, field: str, value: str
) -> None:
    answer = client.post("/p/robin/train", data={field: value, "token": TOKEN})

    assert answer.status_code == 400
    assert f'id="e-{field}"' in answer.text
    assert studio.queue.jobs() == []


def test_learning_from_votes_goes_on_from_a_run(client: TestClient, robin: Persona, studio: Studio) -> None:
    add_run(robin)
    assert client.post("/p/robin/train", data={"method": "dpo", "token": TOKEN}).status_code == 400
    assert client.post("/p/robin/train", data={"method": "dpo", "from": "r1", "token": TOKEN}).status_code == 303
    (job,) = studio.queue.jobs()

    assert list(job.argv) == ["train", "robin", "--method=dpo", "--from=r1", "--votes"]


@pytest.mark.parametrize("sent", [{"from": "r9"}, {"from": "../r1"}, {"data": "../../etc/passwd"}, {"data": "x.jsonl"}])
def test_only_runs_and_files_that_are_there_are_learned_from(
    client: TestClient, robin: Persona, studio: Studio, sent: dict[str, str]
) -> None:
    assert client.post("/p/robin/train", data={**sent, "token": TOKEN}).status_code == 400
    assert studio.queue.jobs() == []


def test_an_interrupted_run_goes_on_with_the_command_that_began_it(
    client: TestClient, robin: Persona, studio: Studio
) -> None:
    given = {"epochs": 9, "learning_rate": 0.0005, "model": "starter/other"}
    name = add_run(robin, "interrupted", recipe={"given": given})
    client.post("/p/robin/train/go-on", data={"run": name, "token": TOKEN})
    (job,) = studio.queue.jobs()

    assert list(job.argv) == ["train", "robin", "--epochs=9", "--learning-rate=0.0005", "--model=starter/other"]


def test_a_training_in_a_terminal_is_seen_live(client: TestClient, robin: Persona) -> None:
    name = add_run(robin, "training")
    folder = robin.runs_folder / name
    files.write_json(
        folder / "live.json",
        {
            "planned": {"run": name, "epochs": 2, "steps": 40, "steps_done": 0, "estimated_seconds": 60.0,
                        "estimated_bytes": 10**9},
            "stepped": {"step": 10, "steps": 40, "epoch": 0.5, "loss": 2.345, "tokens_per_second": 1234.0,
                        "seconds_left": 95.0, "peak_bytes": 2 * 10**9},
        },
    )  # fmt: skip
    with files.locked(folder / ".lock", RuntimeError()):
        page = client.get("/p/robin/train").text
        strip = client.get("/queue/strip").text
        home = client.get("/").text

    for shown in ("2.345", "1,234", "step 10 of 40", "1 min 35 s left", "2.0 GB", "begun in a terminal"):
        assert shown in page
    assert "step 10 of 40" in strip
    assert "r1 is training" in home
    assert client.get("/queue/strip").text.strip() == ""


def test_pages_of_fragments_load_nothing_that_computes() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from personatune.studio.app import create_app; "
        "heavy = ('torch', 'transformers', 'numpy', 'scipy', 'altair', 'sklearn'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)

    assert done.stdout.strip() == "[]"
