"""A run that goes on from another begins exactly where that one ended, and never trains on what it held out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from threading import Event

import pytest
import torch
from small_runs import assert_same, small_recipe, weights

from personatune.conversation import Message, Origin
from personatune.data.fix import corrected
from personatune.data.load import load, to_jsonl
from personatune.data.version import row_hash
from personatune.errors import ModelError, RecipeError, RunError, UsageError
from personatune.models import vocabulary
from personatune.persona import Persona
from personatune.store.lineage import ancestors
from personatune.store.store import Store
from personatune.training.events import Note, Stepped
from personatune.training.recipe import Recipe
from personatune.training.run import TrainOptions, train
from tiny_models import build_gemma, small_talk
from whole_persona import taken_as_saved

KINDS = {
    "lora": {},
    "lora, fewer tokens": {"vocab": 500},
    "full": {"method": "full", "learning_rate": 1e-3},
    "full, fewer tokens": {"method": "full", "vocab": 500, "learning_rate": 1e-3},
}


def going_on(parent="r1", **options):
    return TrainOptions(parent=parent, **options)


def copied(persona, folder):
    return Persona.open(shutil.copytree(persona.folder, folder / "dot"))


def learn_more(persona, count=6):
    """Conversations that the first run has not seen."""
    with persona.train_file.open("a", encoding="utf-8") as file:
        file.write(to_jsonl(small_talk(count, seed=9)))


def sides(run):
    return json.loads((run.folder / "split.json").read_text(encoding="utf-8"))


@pytest.fixture(params=KINDS, scope="module")
def keys(request):
    return KINDS[request.param]


@pytest.fixture(scope="module")
def trained(keys, new_persona, tiny_gemma_unlearned):
    """A persona with a finished run r1, whose turn tokens were learned too; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "MOST_WORDS", 300)
        persona = new_persona()
        return persona, train(persona, small_recipe(tiny_gemma_unlearned, **keys))


@pytest.fixture
def persona(trained, tmp_path):
    return copied(trained[0], tmp_path)


def test_it_begins_with_the_loss_that_the_parent_ended_with(persona, trained):
    child = train(persona, Recipe(epochs=1, probes=1, seed=3, dtype="fp32", device="cpu"), going_on())
    parent = trained[1]

    assert child.manifest["heldout"]["nll_before"] == pytest.approx(parent.manifest["heldout"]["nll_after"], rel=1e-5)
    assert child.manifest["parent"] == "r1"
    assert child.finished
    for key in ("vocabulary", "turn_rows", "parameters"):
        assert child.manifest[key] == parent.manifest[key]
    assert child.manifest["turn_rows"]
    assert weights(child).keys() == weights(parent).keys()
    assert vocabulary.read(child.folder / "model") == vocabulary.read(parent.folder / "model")
    with Store.open(persona.store_file) as store:
        assert store.run("r2").parent == "r1"
        assert [node.id for node in ancestors(store, "r2")][:2] == ["r2", "r1"]


def test_steps_of_no_size_leave_the_parents_weights(persona, trained):
    still = Recipe(epochs=1, learning_rate=1e-30, weight_decay=0, keep="last", probes=0, seed=3, dtype="fp32")
    child = train(persona, still, going_on())
    before, after = weights(trained[1]), weights(child)

    assert before.keys() == after.keys()
    for name in before:
        assert torch.equal(before[name], after[name]), name


def test_new_rows_are_learned_and_rows_held_out_stay_so(persona, trained, tmp_path):
    learn_more(persona)
    told = []
    child = train(persona, Recipe(epochs=2, probes=0, seed=8, dtype="fp32", batch_size=4), going_on(listen=told.append))
    before, after = sides(trained[1]), sides(child)
    rows = {row_hash(row) for row in load(persona.train_file)}

    assert set(before["heldout"]) <= set(after["heldout"])
    assert not set(before["trained"]) & set(after["heldout"])
    assert set(after["heldout"]) | set(after["trained"]) == rows
    assert len(after["heldout"]) == 3
    assert any("2 rows are held out as they were there, 1 more" in e.text for e in told if isinstance(e, Note))


@pytest.mark.usefixtures("a_checkpoint_each_step")
def test_an_interrupted_child_goes_on_as_if_it_had_not_been(persona, tmp_path):
    learn_more(persona)
    recipe = Recipe(epochs=2, probes=0, seed=5, dtype="fp32", device="cpu", lora_dropout=0.1)
    whole = train(copied(persona, tmp_path / "other"), recipe, going_on())
    stop = Event()

    def listen(event):
        if isinstance(event, Stepped) and event.step == 4:
            stop.set()

    paused = train(persona, recipe, going_on(listen=listen, stop=stop))
    run = train(persona, recipe, going_on())

    assert (paused.finished, paused.name, run.name, run.finished) == (False, "r2", "r2", True)
    assert_same(run, whole)
    assert train(persona, recipe, going_on("r2")).name == "r3"
    assert train(persona, recipe, going_on("r1")).name == "r4"


# --- corrections ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(new_persona, tiny_gemma):
    persona = new_persona()
    train(persona, small_recipe(tiny_gemma, epochs=1, probes=2))
    return persona


@pytest.fixture
def spare(plain, tmp_path):
    """A persona with one finished run, to be changed."""
    return copied(plain, tmp_path)


def test_a_corrected_reply_is_always_trained_on_and_remembered(spare):
    with Store.open(spare.store_file) as store:
        first = store.samples()[0]
        data = store.run("r1").dataset
    rows = load(spare.train_file)
    origins = [Origin(fix=first.id, run="r1", was=first.reply), Origin(fix="s999", was="of another record")]
    origins += [Origin(fix=first.id, was="of another reply")] * 10
    asked = [(Message(role="user", content=f"Prompt {n}?"),) for n in range(len(origins))]
    fixed = [
        corrected(prompt, f"Better {n}.", origin) for n, (prompt, origin) in enumerate(zip(asked, origins, strict=True))
    ]
    spare.train_file.write_text(to_jsonl([*rows, *fixed]), encoding="utf-8")
    child = train(spare, Recipe(epochs=1, probes=0, heldout=0.5, dtype="fp32"), going_on())

    assert {row_hash(row) for row in fixed} <= set(sides(child)["trained"])
    with Store.open(spare.store_file) as store:
        version = store.dataset(child.manifest["data"]["version"])
        found = {(node.kind, node.id) for node in ancestors(store, version.id)}
    assert version.parent == data
    assert found == {("data", version.id), ("data", data), ("sample", first.id), ("run", "r1")}


# --- what is refused -----------------------------------------------------------------------------------------


def refused(error, persona, recipe, parent="r1"):
    with pytest.raises(error) as caught:
        train(persona, recipe, going_on(parent))
    assert not (persona.runs_folder / "r2").exists()
    return caught.value


@pytest.mark.parametrize(
    "keys", [{"lora_rank": 8}, {"lora_alpha": 3}, {"method": "full"}, {"vocab": 300}, {"language": "de"}]
)
def test_another_shape_is_refused(spare, keys):
    (key,) = keys
    error = refused(RecipeError, spare, Recipe(**keys))

    assert f"r1 was trained with {key} = " in error.what
    assert f"--{key.replace('_', '-')}" in error.fix


def test_another_model_is_refused_and_the_same_one_is_not(spare, tiny_gemma, tiny_llama, tmp_path):
    assert "trained with model" in refused(RecipeError, spare, Recipe(model=str(tiny_llama))).what
    same = Recipe(model=str(tiny_gemma), epochs=1, probes=0, lora_rank=4, dtype="fp32")
    assert train(spare, same, going_on()).finished


def test_a_model_that_has_changed_is_refused(new_persona, tmp_path):
    model = build_gemma(tmp_path / "model")
    persona = new_persona(rows=8)
    train(persona, small_recipe(model, epochs=1))
    shutil.rmtree(model)
    build_gemma(model, lookalikes=5)

    assert "has changed since r1" in refused(ModelError, persona, Recipe()).what


@pytest.mark.parametrize(
    ("parent", "error", "said"),
    [
        ("r9", RunError, "has no run r9"),
        ("base", UsageError, "is not a run"),
        ("nonsense", UsageError, "is no contestant"),
        ("other@r1", UsageError, "another persona"),
        ("", UsageError, "is no contestant"),
    ],
)
def test_what_is_no_run_of_this_persona_is_refused(spare, parent, error, said):
    assert said in refused(error, spare, Recipe(), parent).what


def test_a_run_that_is_not_finished_is_refused(spare):
    path = spare.runs_folder / "r1" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | {"status": "interrupted"}), encoding="utf-8")

    assert "not finished" in refused(RunError, spare, Recipe()).what


@pytest.mark.parametrize("content", [None, "", "{}", '{"trained": 3, "heldout": []}'])
def test_a_run_that_forgot_what_it_held_out_is_refused(spare, content):
    path = spare.runs_folder / "r1" / "split.json"
    path.unlink() if content is None else path.write_text(content, encoding="utf-8")

    assert "which rows it held out" in refused(RunError, spare, Recipe()).what


def test_an_adapter_of_other_layers_is_refused(spare):
    from safetensors.torch import load_file, save_file

    path: Path = spare.runs_folder / "r1" / "model" / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors.pop(next(iter(tensors)))
    save_file(tensors, path)
    taken_as_saved(spare.runs_folder / "r1")
    with pytest.raises(RunError, match="cannot be gone on with"):
        train(spare, Recipe(dtype="fp32"), going_on())
