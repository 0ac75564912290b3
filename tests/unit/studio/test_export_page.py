"""Export: what there is can be taken along whole, with its terms, and nothing else can be reached."""

from __future__ import annotations

import html
import io
import json
import zipfile
from pathlib import Path

import pytest
from loop_pages import Pages, exchange, pages, run

from personatune.store import artefacts
from personatune.store.of_persona import open_store
from personatune.store.records import ArtefactRecord


@pytest.fixture
def odd(tmp_path: Path) -> Pages:
    made = pages(tmp_path, [exchange("a", "b")])
    run(made.persona)
    (made.persona.runs_folder / "r1" / "GEMMA_TERMS.html").write_text("<script>terms</script>")
    (made.persona.runs_folder / "r1" / "secret.txt").write_text("mine")
    return made


def test_the_page_says_what_there_is_and_its_terms(odd: Pages):
    text = odd.get("/export")
    assert "starter/gemma-3-270m" in text
    assert "Gemma Terms of Use" in text
    assert "GEMMA_TERMS.html" in text
    assert "train.jsonl" in text
    assert "secret.txt" not in text


def test_packing_is_the_command_line_itself(odd: Pages):
    odd.post("/export/pack", {"run": "r1", "to": "ollama"}, status=303)
    jobs = odd.client.app.state.studio.queue.jobs()
    assert [list(job.argv) for job in jobs] == [["export", "odd@r1", "--to", "ollama"]]
    assert "personatune export odd@r1 --to ollama" in odd.get("/export")


@pytest.mark.parametrize("asked", [{"run": "r9", "to": "gguf"}, {"run": "r1", "to": "--output"}, {"run": "../x"}, {}])
def test_nothing_else_can_be_packed(odd: Pages, asked: dict[str, str]):
    odd.post("/export/pack", asked, status=400)
    assert odd.client.app.state.studio.queue.jobs() == []


def test_what_was_packed_is_listed_also_when_it_is_gone(odd: Pages):
    with open_store(odd.persona) as store:
        for name in ("here", "gone"):
            made = ArtefactRecord(run="r1", target="gguf", quantization="q8", folder=f"exports/{name}", fingerprint="f")
            artefacts.add(store, made)
    (odd.persona.folder / "exports" / "here").mkdir(parents=True)
    (odd.persona.folder / "exports" / "here" / "model.gguf").write_bytes(b"12345")
    text = odd.get("/export")
    assert "5 bytes" in text and "not there any more" in text and "not compared" in text


def test_how_to_see_the_latest_page_that_is_there(odd: Pages):
    with open_store(odd.persona) as store:
        for folder in ("exports/first", "exports/of mine", "exports/gone"):
            made = ArtefactRecord(run="r1", target="web", quantization="q8", folder=folder, fingerprint="f")
            artefacts.add(store, made)
            if folder != "exports/gone":
                (odd.persona.folder / folder).mkdir(parents=True)
                (odd.persona.folder / folder / "page.json").write_text("{}")
    text = html.unescape(odd.get("/export"))
    assert f"python -m http.server -b 127.0.0.1 -d '{odd.persona.folder / 'exports/of mine'}' 8000" in text
    assert "exports/first 8000" not in text


def test_a_run_is_taken_along_whole(odd: Pages):
    answer = odd.client.get(f"{odd.base}/export/r1.zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="odd-r1.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {
            "odd-r1/model/adapter_model.safetensors", "odd-r1/model/generation_config.json",
            "odd-r1/GEMMA_TERMS.html", "odd-r1/manifest.json",
        }  # fmt: skip
        assert archive.read("odd-r1/model/adapter_model.safetensors") == b"\0" * 2048


def test_files_come_one_by_one_and_are_never_shown_as_pages(odd: Pages):
    answer = odd.client.get(f"{odd.base}/export/r1/GEMMA_TERMS.html")
    assert answer.text == "<script>terms</script>"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert odd.client.get(f"{odd.base}/export/texts/train.jsonl").content == odd.persona.train_file.read_bytes()


@pytest.mark.parametrize(
    "where",
    ["/r1/secret.txt", "/r1/../../persona.toml", "/r1/%2e%2e/%2e%2e/persona.toml", "/texts/..%2f..%2fpasswd",
     "/texts/secret", "/r1//etc/passwd", "/r9.zip", "/base.zip", "/..zip", "/r1/.lock"],
)  # fmt: skip
def test_nothing_else_can_be_reached(odd: Pages, where: str):
    answer = odd.client.get(f"{odd.base}/export{where}")
    assert answer.status_code in (400, 404, 422)
    assert "mine" not in answer.text


def test_a_link_in_a_run_leads_nowhere(odd: Pages, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.write_text("private")
    (odd.persona.runs_folder / "r1" / "model" / "link").symlink_to(outside)
    assert "private" not in odd.client.get(f"{odd.base}/export/r1/model/link").text


def test_a_damaged_record_hides_no_weights(odd: Pages):
    (odd.persona.runs_folder / "r1" / "manifest.json").write_text("{torn")
    text = odd.get("/export")
    assert "is damaged" in text
    assert "adapter_model.safetensors" in text


def test_without_runs_the_next_step_is_to_train(tmp_path: Path):
    odd = pages(tmp_path, [exchange("a", "b")])
    assert "Train a run" in odd.get("/export")
    (odd.persona.folder / "other <x>.jsonl").write_text(json.dumps(exchange("a", "b")))
    assert "other &lt;x&gt;.jsonl" in odd.get("/export")
