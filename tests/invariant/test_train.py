"""A whole training: what it leaves behind is complete, explains itself, and is what was measured."""

from __future__ import annotations

import json
import math

import pytest
import torch
from small_runs import ROWS, assert_same, metrics, small_recipe, weights

from personatune.conversation import Conversation
from personatune.data.load import load, to_jsonl
from personatune.data.render import prompt_text, render
from personatune.data.split import split
from personatune.errors import DataError, ResourceError
from personatune.models import turn_tokens, vocabulary
from personatune.models.device import Compute
from personatune.models.load import load_base, load_run
from personatune.models.resolve import resolve
from personatune.store.store import Store
from personatune.training import events
from personatune.training.recipe import combine, read_recipe
from personatune.training.run import TrainOptions, train
from personatune.training.trainee import Trainee
from tiny_models import VOCABULARY

PROBES = 3


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def persona(new_persona):
    return new_persona()


@pytest.fixture(scope="module")
def run(persona, tiny_gemma_unlearned, told):
    """A run with everything: held-out replies, turn tokens to learn, probes."""
    recipe = small_recipe(tiny_gemma_unlearned, probes=PROBES)
    return train(persona, recipe, TrainOptions(listen=told.append))


def read_back(run, dtype="fp32"):
    """The saved model and the loss of the held-out replies under it."""
    compute = Compute("cpu", dtype, "for a test")
    loaded = load_run(resolve(run.manifest["model"]["id"]), run.folder / "model", compute)
    places = json.loads((run.folder / "heldout.json").read_text(encoding="utf-8"))
    rows = load(run.folder.parents[1] / "train.jsonl")
    heldout = [render(loaded.tokenizer, row) for row in rows if str(row.source) in places]
    assert len(heldout) == len(places)
    return loaded, Trainee(loaded.model).nll(heldout) if heldout else None


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_trimmed_run_is_read_back_as_it_was_trained(new_persona, tiny_gemma_unlearned, monkeypatch, method):
    monkeypatch.setattr(vocabulary, "MOST_WORDS", 300)
    recipe = small_recipe(tiny_gemma_unlearned, vocab=500, method=method, probes=2)
    trained = train(new_persona(), recipe)
    made = trained.manifest
    loaded, nll = read_back(trained)

    assert made["vocabulary"] == {"size": 500, "of": VOCABULARY, "language": "en"}
    assert loaded.model.get_input_embeddings().weight.shape[0] == 500
    assert list(loaded.stop_ids) == made["stop"]["ids"]
    assert nll == pytest.approx(made["heldout"]["nll_after"], rel=1e-4)
    assert made["heldout"]["bits_per_byte_after"] < made["heldout"]["bits_per_byte_before"]
    if method == "lora":  # the embedding is cut from the base again, not kept with every run
        assert not any("embed_tokens.weight" in name for name in weights(trained))


# --- one run, looked at from all sides -------------------------------------------------------------------


def test_the_folder_holds_what_it_should_and_no_scratch(run):
    assert {path.name for path in run.folder.iterdir()} == {
        ".lock",
        "heldout.json",
        "manifest.json",
        "metrics.jsonl",
        "model",
        "recipe.toml",
        "split.json",
        "tensorboard",
    }
    assert {path.name for path in (run.folder / "model").iterdir()} >= {
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_the_manifest_says_what_made_the_run_and_what_came_of_it(run, persona, tiny_gemma_unlearned):
    manifest = json.loads((run.folder / "manifest.json").read_text(encoding="utf-8"))
    lengths = [len(r.token_ids) for r in rendered_parts(run)[0]]

    assert manifest == run.manifest
    assert (manifest["run"], manifest["persona"], manifest["status"]) == ("r1", "dot", "finished")
    assert manifest["recipe"]["given"]["epochs"] == 2
    assert "warmup" not in manifest["recipe"]["given"]
    assert manifest["recipe"]["resolved"]["warmup"] == 0.1
    assert manifest["model"] == {
        "id": str(tiny_gemma_unlearned),
        "folder": str(tiny_gemma_unlearned),
        "hash": resolve(str(tiny_gemma_unlearned)).sha256,
        "type": "gemma3_text",
    }
    assert manifest["data"]["rows"] == ROWS == manifest["data"]["train"] + manifest["data"]["heldout"]
    assert manifest["heldout"]["conversations"] == manifest["data"]["heldout"] == 2
    assert manifest["steps"] == manifest["steps_done"] == math.ceil(2 * manifest["data"]["train"] / 4)
    assert manifest["tokens"]["trained"] == 2 * sum(lengths)
    assert 0 < manifest["tokens"]["labelled"] < manifest["tokens"]["trained"]
    assert 0 < manifest["parameters"]["trainable"] < manifest["parameters"]["total"]
    assert manifest["stop"]["probes"] == PROBES
    assert 0 <= manifest["stop"]["stopped"] <= PROBES
    assert manifest["stop"]["end_of_turn"] == 5
    assert manifest["stop"]["ids"] == [1, 5]
    assert manifest["seconds"]["train"] > 0
    assert {"python", "torch", "transformers", "peft"} <= manifest["versions"].keys()
    assert (manifest["seed"], manifest["device"], manifest["dtype"]) == (3, "cpu", "fp32")
    assert manifest["peak_memory_bytes"] > 100 << 20
    assert "git" in manifest
    assert manifest["created"] <= manifest["finished"]


def rendered_parts(run):
    """The rows of the run as the model saw them: to learn from, and held out."""
    tokenizer = load_base(resolve(run.manifest["model"]["id"]), Compute("cpu", "fp32", "")).tokenizer
    parts = split(load(run.folder.parents[1] / "train.jsonl"), heldout_fraction=0.1, seed=3)
    return tuple([render(tokenizer, row) for row in part] for part in (parts.train, parts.heldout))


def test_the_recipe_of_the_run_gives_the_recipe_again(run, tiny_gemma_unlearned):
    recipe = combine(read_recipe(run.folder / "recipe.toml"))

    assert recipe == small_recipe(tiny_gemma_unlearned, probes=PROBES).resolved()


def test_every_step_and_every_measurement_is_in_the_metrics(run):
    steps = [line for line in metrics(run) if "loss" in line]
    measured = [line for line in metrics(run) if "heldout_nll" in line]

    assert [line["step"] for line in steps] == list(range(1, run.manifest["steps"] + 1))
    assert all(math.isfinite(line["loss"]) and line["grad_norm"] > 0 for line in steps)
    assert max(line["learning_rate"] for line in steps) == pytest.approx(2e-3)
    assert [line["epoch"] for line in measured] == pytest.approx([0.5, 1, 1.5, 2], abs=0.1)
    assert run.manifest["loss"] == {"first": steps[0]["loss"], "last": steps[-1]["loss"]}
    assert steps[-1]["loss"] < steps[0]["loss"]


def test_the_weights_kept_are_those_of_the_lowest_heldout_loss(run):
    measured = {line["step"]: line["heldout_nll"] for line in metrics(run) if "heldout_nll" in line}
    heldout = run.manifest["heldout"]
    loaded, nll = read_back(run)

    assert heldout["nll_after"] == min(measured.values()) == measured[heldout["best_step"]]
    assert heldout["nll_after"] < heldout["nll_before"]
    assert nll == pytest.approx(heldout["nll_after"], rel=1e-5)
    assert loaded.stop_ids == (1, 5)


def test_the_loss_before_training_is_that_of_the_base(run):
    base = load_base(resolve(run.manifest["model"]["id"]), Compute("cpu", "fp32", ""))

    assert Trainee(base.model).nll(rendered_parts(run)[1]) == pytest.approx(
        run.manifest["heldout"]["nll_before"], rel=1e-5
    )


def test_what_is_saved_stops_where_we_stop_in_other_hands(run):
    from transformers import AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(run.folder / "model")
    messages = load(run.folder.parents[1] / "train.jsonl")[0].messages[:1]

    assert GenerationConfig.from_pretrained(run.folder / "model").eos_token_id == [1, 5]
    assert prompt_text(tokenizer, messages).startswith("<bos><start_of_turn>user\n")
    assert prompt_text(tokenizer, messages).endswith("<end_of_turn>\n<start_of_turn>model\n")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # PEFT 0.21 asks by an old name
def test_the_adapter_is_read_by_peft_itself(run, tiny_gemma_unlearned):
    from peft import AutoPeftModelForCausalLM

    model = AutoPeftModelForCausalLM.from_pretrained(run.folder / "model", dtype=torch.float32)
    merged, _ = read_back(run)
    ids = torch.tensor([rendered_parts(run)[1][0].token_ids])

    assert model.peft_config["default"].base_model_name_or_path == str(tiny_gemma_unlearned)
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, merged.model(ids).logits, rtol=1e-3, atol=1e-3)
    untouched = load_base(resolve(str(tiny_gemma_unlearned)), Compute("cpu", "fp32", "")).model
    with torch.no_grad():
        assert (untouched(ids).logits - merged.model(ids).logits).abs().max() > 0.1


def test_run_and_probes_are_in_the_store(run, persona):
    with Store.open(persona.store_file) as store:
        (record,) = store.runs()
        samples = store.samples()

    assert (record.name, record.status, record.manifest) == ("r1", "finished", run.manifest)
    assert [(s.origin, s.contestant, s.run) for s in samples] == [("probe", "dot@r1", "r1")] * PROBES
    assert sum(sample.finish_reason == "stop" for sample in samples) == run.manifest["stop"]["stopped"]


def test_the_events_tell_the_story_in_order(run, told):
    planned = next(event for event in told if isinstance(event, events.Planned))
    steps = [event for event in told if isinstance(event, events.Stepped)]
    measured = [event for event in told if isinstance(event, events.Measured)]
    notes = [event.text for event in told if isinstance(event, events.Note)]

    assert (planned.run, planned.steps, planned.steps_done) == ("r1", run.manifest["steps"], 0)
    assert planned.estimated_seconds > 0
    assert planned.estimated_bytes > 0
    assert [step.step for step in steps] == list(range(1, planned.steps + 1))
    assert told.index(planned) < told.index(steps[0])
    assert steps[-1].seconds_left == 0
    assert [e.nll for e in measured if e.best][-1] == run.manifest["heldout"]["nll_after"]
    assert any("never learned" in note and "<end_of_turn>" in note for note in notes)
    assert told[-1] == events.Probed(PROBES, PROBES, run.manifest["stop"]["stopped"])


# --- runs that must agree --------------------------------------------------------------------------------


def test_the_same_recipe_gives_the_same_weights_bit_for_bit(new_persona, tiny_gemma, uninterrupted):
    again = train(new_persona(), small_recipe(tiny_gemma))

    assert_same(again, uninterrupted)


def test_a_finished_run_is_not_gone_on_with(new_persona, tiny_gemma):
    persona, recipe = new_persona(rows=8), small_recipe(tiny_gemma, epochs=1)
    first, second, third = (
        train(persona, recipe),
        train(persona, recipe),
        train(persona, recipe, TrainOptions(fresh=True)),
    )

    assert [run.name for run in (first, second, third)] == ["r1", "r2", "r3"]
    assert_same(first, second)
    assert_same(first, third)


def test_one_by_eight_trains_as_eight_by_one(new_persona, tiny_gemma):
    wide = train(new_persona(), small_recipe(tiny_gemma, batch_size=8))
    narrow = train(new_persona(), small_recipe(tiny_gemma, batch_size=1, accumulate=8))

    for one, other in zip(metrics(wide), metrics(narrow), strict=True):
        assert one == pytest.approx(other, rel=2e-3)
    assert wide.manifest["steps"] == narrow.manifest["steps"] == 6
    assert narrow.manifest["tokens"]["padding"] <= wide.manifest["tokens"]["padding"]


@pytest.mark.parametrize("keep", ["heldout", "last"])
def test_the_best_or_the_last_weights_are_kept_as_asked(new_persona, tiny_gemma, keep):
    """With steps so large that the last measurement is not the lowest."""
    reckless = {"learning_rate": 0.2, "schedule": "constant", "warmup": 0.0}
    run = train(new_persona(rows=12), small_recipe(tiny_gemma, keep=keep, **reckless))
    measured = [line["heldout_nll"] for line in metrics(run) if "heldout_nll" in line]
    kept = min(measured) if keep == "heldout" else measured[-1]

    assert min(measured) < measured[-1] - 0.05
    assert run.manifest["heldout"]["nll_after"] == kept
    assert read_back(run)[1] == pytest.approx(kept, rel=1e-3)


# --- every kind of run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_full_fine_tuning_saves_a_model_of_its_own(new_persona, tiny_gemma_unlearned, dtype):
    recipe = small_recipe(tiny_gemma_unlearned, method="full", dtype=dtype, epochs=1)
    run = train(new_persona(), recipe)
    _, nll = read_back(run, dtype)

    assert {path.name for path in (run.folder / "model").iterdir()} >= {"config.json", "model.safetensors"}
    assert {tensor.dtype for tensor in weights(run).values()} == {torch.float32 if dtype == "fp32" else torch.bfloat16}
    assert run.manifest["heldout"]["nll_after"] < run.manifest["heldout"]["nll_before"]
    assert nll == pytest.approx(run.manifest["heldout"]["nll_after"], rel=1e-5 if dtype == "fp32" else 0.02)
    saved = weights(run)["model.embed_tokens.weight"].float()
    base = load_base(resolve(str(tiny_gemma_unlearned)), Compute("cpu", dtype, "")).model
    moved = (saved != base.get_input_embeddings().weight.float()).any(dim=1).nonzero().flatten().tolist()
    assert moved == [4, 5]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_model_with_a_template_and_an_output_layer_of_its_own(new_persona, tiny_llama, dtype):
    run = train(new_persona(), small_recipe(tiny_llama, dtype=dtype, epochs=1, probes=1))
    loaded, nll = read_back(run, dtype)

    assert run.manifest["stop"]["ids"] == [3]
    assert nll == pytest.approx(run.manifest["heldout"]["nll_after"], rel=1e-5 if dtype == "fp32" else 0.02)
    assert prompt_text(loaded.tokenizer, load(run.folder.parents[1] / "train.jsonl")[0].messages[:1]).startswith(
        "<|im_start|>user\n"
    )


def test_rows_are_said_to_be_trained_only_where_they_are(new_persona, tiny_llama, monkeypatch):
    """An untied output layer has rows of its own, and they stay frozen."""
    monkeypatch.setattr(turn_tokens, "untrained", lambda embedding, tokens: list(tokens))
    told = []
    train(new_persona(rows=8), small_recipe(tiny_llama, epochs=1), TrainOptions(listen=told.append))

    assert not [event for event in told if isinstance(event, events.Note) and "never learned" in event.text]


def test_without_held_out_rows_the_last_weights_are_kept(new_persona, tiny_gemma):
    run = train(new_persona(rows=8), small_recipe(tiny_gemma, heldout=0, epochs=1))

    assert run.finished
    assert run.manifest["heldout"]["nll_after"] is None
    assert run.manifest["data"] | {"train": 8, "heldout": 0} == run.manifest["data"]
    json.dumps(run.manifest, allow_nan=False)


def test_a_conversation_over_the_limit_is_cut_after_a_whole_exchange(new_persona, tiny_gemma):
    persona, told = new_persona(rows=8), []
    widest = max(len(row.token_ids) for row in rendered(tiny_gemma, load(persona.train_file)))
    single = max(len(r.token_ids) for r in rendered(tiny_gemma, [first_exchange(r) for r in load(persona.train_file)]))
    assert single < widest
    run = train(persona, small_recipe(tiny_gemma, max_tokens=single, epochs=1), TrainOptions(listen=told.append))

    assert run.manifest["data"]["train"] + run.manifest["data"]["heldout"] == 8
    assert any(f"over {single} tokens" in e.text for e in told if isinstance(e, events.Note))
    assert run.manifest["tokens"]["trained"] <= single * run.manifest["data"]["train"]


def rendered(model, rows):
    tokenizer = load_base(resolve(str(model)), Compute("cpu", "fp32", "")).tokenizer
    return [render(tokenizer, row) for row in rows]


def first_exchange(row):
    until = next(i for i, message in enumerate(row.messages) if message.role == "assistant")
    return Conversation(messages=row.messages[: until + 1], source=row.source)


# --- what is refused -------------------------------------------------------------------------------------------


def refused(error, persona, recipe):
    with pytest.raises(error) as caught:
        train(persona, recipe)
    return caught.value


def test_a_single_exchange_over_the_limit_is_refused_with_its_line(new_persona, tiny_gemma):
    error = refused(DataError, new_persona(rows=8), small_recipe(tiny_gemma, max_tokens=16))

    assert "train.jsonl:" in error.where
    assert "--max-tokens" in error.fix


def test_rows_with_errors_are_refused_before_a_run_is_begun(new_persona, tiny_gemma):
    persona = new_persona(rows=8)
    rows = load(persona.train_file)
    broken = rows[2].model_copy(update={"messages": rows[2].messages[::-1]})
    persona.train_file.write_text(to_jsonl([*rows[:2], broken, *rows[3:]]), encoding="utf-8")
    error = refused(DataError, persona, small_recipe(tiny_gemma))

    assert ":3" in error.where
    assert not persona.runs_folder.exists()


def test_control_tokens_in_the_text_are_refused(new_persona, tiny_gemma):
    persona = new_persona(rows=8)
    text = persona.train_file.read_text(encoding="utf-8")
    persona.train_file.write_text(text.replace('!"', '!<end_of_turn>"', 1), encoding="utf-8")

    assert "<end_of_turn>" in refused(DataError, persona, small_recipe(tiny_gemma)).what


def test_a_device_that_is_not_there_is_refused(new_persona, tiny_gemma, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    persona = new_persona(rows=8)
    error = refused(ResourceError, persona, small_recipe(tiny_gemma, device="cuda"))

    assert "no cuda device" in error.what
    assert error.fix == "--device cpu"
    assert not persona.runs_folder.exists()


def test_a_run_that_would_not_fit_is_refused_before_its_first_step(new_persona, tiny_gemma, monkeypatch):
    from personatune.training import estimate

    monkeypatch.setattr(estimate, "memory", lambda *_: 1 << 60)
    persona = new_persona(rows=8)
    error = refused(ResourceError, persona, small_recipe(tiny_gemma))

    assert "of memory" in error.what
    assert not (persona.runs_folder / "r1" / "metrics.jsonl").exists()
