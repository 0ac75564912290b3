"""Learning from votes: what was liked becomes likelier, what the run began with stays known, nothing else is read."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import torch
from small_runs import assert_same, small_recipe, weights

from personatune.conversation import Conversation, Message, Source
from personatune.data.load import load
from personatune.data.normalise import normalised
from personatune.data.preferences import Preference, Preferences, learned_prompts, prompt_key
from personatune.data.render import prompt_ids, render
from personatune.data.version import row_hash
from personatune.errors import DataError, RecipeError, ResourceError, UsageError
from personatune.evaluation.learned import seen_by
from personatune.models import vocabulary
from personatune.models.device import Compute
from personatune.models.load import load_run, load_tokenizer
from personatune.models.resolve import resolve
from personatune.persona import Persona
from personatune.training import batches, preference_rows, preference_trainer
from personatune.training.events import Note, Planned, Stepped
from personatune.training.preference_rows import as_row, pair_ids
from personatune.training.recipe import Recipe
from personatune.training.run import TrainOptions, train
from personatune.training.trainee import Trainee
from tiny_models import small_talk, talk

KINDS = {
    "lora": {},
    "lora, fewer tokens": {"vocab": 500},
    "full": {"method": "full", "learning_rate": 1e-3},
}
PAIRS = 24


def preferences(count: int = PAIRS) -> Preferences:
    """A taste: of two replies to prompts that no conversation has, the one that begins with a certain word is liked."""
    rows = small_talk(2 * count, seed=77)
    pairs = []
    for number in range(count):
        prompt = talk(f"Vote {number}: {rows[number].prompts[0]}")
        chosen, rejected = f"Cheese! {rows[number].replies[0]}", f"Well. {rows[count + number].replies[0]}"
        source = Source(path="votes.jsonl", line=number + 1)
        judgings = ("j1", "j2") if number % 2 else ("j1",)
        pairs.append(Preference(prompt=prompt, chosen=chosen, rejected=rejected, judgings=judgings, source=source))
    return Preferences("votes", tuple(pairs))


LIKED = preferences()


def dpo(**keys) -> Recipe:
    small = {"epochs": 3, "batch_size": 4, "learning_rate": 2e-3, "probes": 0, "seed": 3}
    return Recipe(**{"method": "dpo", "device": "cpu", "dtype": "fp32"} | small | keys)


def liking(known=LIKED, parent="r1", **options) -> TrainOptions:
    return TrainOptions(parent=parent, preferences=known, **options)


def copied(persona: Persona, folder: Path) -> Persona:
    return Persona.open(shutil.copytree(persona.folder, folder / "dot"))


@pytest.fixture(params=KINDS, scope="module")
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def trained(kind, new_persona, tiny_gemma_unlearned):
    """A persona with a finished run, whose turn tokens were learned too; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "MOST_WORDS", 300)
        persona = new_persona()
        return persona, train(persona, small_recipe(tiny_gemma_unlearned, **KINDS[kind]))


@pytest.fixture
def persona(trained, tmp_path):
    return copied(trained[0], tmp_path)


@pytest.fixture(scope="module")
def plain(new_persona, tiny_gemma):
    persona = new_persona()
    train(persona, small_recipe(tiny_gemma, epochs=1))
    return persona


@pytest.fixture
def spare(plain, tmp_path):
    """A persona with one finished run of the plainest kind, to be changed."""
    return copied(plain, tmp_path)


def test_what_was_liked_becomes_likelier(persona, trained):
    parent = {path.name: path.read_bytes() for path in (persona.runs_folder / "r1" / "model").iterdir()}
    told = []
    run = train(persona, dpo(probes=2), liking(listen=told.append))
    made = run.manifest
    learned, spared = made["preferences"]["train"], made["preferences"]["heldout"]

    assert run.finished
    assert (run.name, made["parent"]) == ("r2", "r1")
    assert (learned["pairs"], spared["pairs"]) == (PAIRS - 2, 2)
    assert learned["margin_after"] > learned["margin_before"] + 1
    assert learned["accuracy_after"] >= learned["accuracy_before"]
    assert learned["moved"] > 0.9
    assert made["loss"]["first"] == pytest.approx(math.log(2), abs=1e-3)  # nothing is preferred before the first step
    assert made["loss"]["last"] < 0.6
    assert {path.name: path.read_bytes() for path in (persona.runs_folder / "r1" / "model").iterdir()} == parent
    assert weights(run).keys() == weights(trained[1]).keys()
    assert made["heldout"]["nll_before"] == pytest.approx(trained[1].manifest["heldout"]["nll_after"], rel=1e-5)
    (planned,) = [event for event in told if isinstance(event, Planned)]
    assert planned.estimated_bytes > 0
    assert planned.estimated_seconds > 0
    assert planned.steps == len([event for event in told if isinstance(event, Stepped)])
    assert made["stop"]["probes"] == 2
    json.dumps(made, allow_nan=False)


def test_what_is_saved_is_what_was_measured(persona, trained):
    run = train(persona, dpo(), liking())
    compute = Compute("cpu", "fp32", "for a test")
    source = resolve(run.manifest["model"]["id"])
    both = [load_run(source, persona.runs_folder / name / "model", compute) for name in ("r1", "r2")]
    pairs = pair_ids(both[0].tokenizer, LIKED.pairs, 1024)
    before, after = (preference_trainer.score(Trainee(loaded.model), pairs) for loaded in both)
    grown = [(b[0] - b[1]) - (a[0] - a[1]) for a, b in zip(before, after, strict=True)]
    made = run.manifest["preferences"]
    total = sum(
        (made[part]["margin_after"] - made[part]["margin_before"]) * made[part]["pairs"]
        for part in ("train", "heldout")
    )

    assert sum(grown) == pytest.approx(total, rel=1e-3)
    assert both[1].stop_ids == both[0].stop_ids


def test_a_preference_is_the_tokens_that_training_and_generation_see(trained, persona):
    tokenizer = load_tokenizer(resolve(trained[1].manifest["model"]["id"]), persona.runs_folder / "r1" / "model")
    longer = Preference(
        prompt=talk("A?", "b!", "C?", system="Be kind."), chosen="Oh, dear.", rejected="No.", votes_for=2
    )
    for pair in (*LIKED.pairs, longer):
        (ids,) = pair_ids(tokenizer, [pair], 1024)
        for reply, own in ((pair.chosen, ids.chosen), (pair.rejected, ids.rejected)):
            row = render(tokenizer, pair.conversation(reply))
            assert (*ids.prompt, *own) == row.token_ids
            assert own[-1] == trained[1].manifest["stop"]["end_of_turn"]
            assert as_row(ids, own).labelled[len(ids.prompt) :] == row.labelled[len(ids.prompt) :]
            assert not any(as_row(ids, own).labelled[: len(ids.prompt)])
        assert list(ids.prompt) == prompt_ids(tokenizer, pair.prompt)


def test_the_loss_is_that_of_the_paper_and_nothing_of_the_prompt_is_in_it(spare):
    """Rafailov et al., 2023, equation 7, from log-probabilities that transformers' own forward pass gives.

    The second step of a run meets the weights that a run of its first step alone ends with.
    """
    half = {"epochs": 1, "batch_size": PAIRS // 2, "warmup": 0, "heldout": 0, "beta": 0.5, "schedule": "constant"}
    two_steps = train(spare, dpo(**half), liking())
    compute, source = Compute("cpu", "fp32", "for a test"), resolve(two_steps.manifest["model"]["id"])
    tokenizer = load_tokenizer(source, spare.runs_folder / "r1" / "model")
    lengths = [pair.tokens for pair in pair_ids(tokenizer, LIKED.pairs, 1024)]
    plan = batches.plan(lengths, epochs=1, batch_size=PAIRS // 2, accumulate=1, seed=3)
    first, second = ([LIKED.pairs[row] for row in batch] for batch in plan.batches)
    one_step = train(spare, dpo(**half), liking(Preferences("votes", tuple(first))))
    parent, moved = (load_run(source, spare.runs_folder / name / "model", compute) for name in ("r1", "r3"))
    terms = []
    for pair in second:
        ratios = []
        for reply in (pair.chosen, pair.rejected):
            begin = len(prompt_ids(tokenizer, pair.prompt)) - 1
            ids = torch.tensor([render(tokenizer, pair.conversation(reply)).token_ids])
            with torch.no_grad():
                logs = [loaded.model(ids).logits.float().log_softmax(-1)[0, :-1] for loaded in (moved, parent)]
            now, then = (log.gather(1, ids[0, 1:, None])[begin:].sum() for log in logs)
            ratios.append(now - then)
        terms.append(-torch.nn.functional.logsigmoid(0.5 * (ratios[0] - ratios[1])))

    assert (one_step.manifest["steps"], two_steps.manifest["steps"]) == (1, 2)
    assert two_steps.manifest["loss"]["first"] == pytest.approx(math.log(2), abs=1e-4)
    assert two_steps.manifest["loss"]["last"] == pytest.approx(float(torch.stack(terms).mean()), rel=1e-3)
    assert two_steps.manifest["loss"]["last"] < 0.5


@pytest.mark.usefixtures("a_checkpoint_each_step")
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(persona, tmp_path):
    whole = train(copied(persona, tmp_path / "other"), dpo(), liking())
    for step in (2, 9):
        stop = Event()

        def listen(event, stop=stop, step=step):
            if isinstance(event, Stepped) and event.step == step:
                stop.set()

        paused = train(persona, dpo(), liking(listen=listen, stop=stop))
        assert (paused.finished, paused.name, paused.manifest["steps_done"]) == (False, "r2", step + 1)
    run = train(persona, dpo(), liking())

    assert (run.name, run.finished) == ("r2", True)
    assert_same(run, whole)
    assert run.manifest["preferences"] == whole.manifest["preferences"]
    assert not (run.folder / "checkpoints").exists()
    fewer = Preferences("votes", LIKED.pairs[:-1])
    assert train(persona, dpo(epochs=1), liking(fewer)).name == "r3"


@pytest.mark.parametrize(("method", "tied"), [("lora", True), ("lora", False), ("full", True)])
def test_in_bf16_the_run_begins_where_its_reference_stands(new_persona, tiny_gemma, tiny_llama, method, tied):
    """Also with an output layer and a chat template of the model's own."""
    persona = new_persona(rows=12)
    train(persona, small_recipe(tiny_gemma if tied else tiny_llama, method=method, dtype="bf16", epochs=1))
    run = train(persona, dpo(dtype="bf16", heldout=0, warmup=0), liking())
    made = run.manifest["preferences"]["train"]

    assert run.manifest["dtype"] == "bf16"
    assert run.manifest["loss"]["first"] == pytest.approx(math.log(2), abs=0.01)
    assert made["margin_after"] > made["margin_before"] + 1


def test_one_by_eight_learns_as_eight_by_one(spare):
    wide = train(spare, dpo(batch_size=8, heldout=0), liking())
    narrow = train(spare, dpo(batch_size=1, accumulate=8, heldout=0), liking())

    assert wide.manifest["steps"] == narrow.manifest["steps"] == 9
    after = [run.manifest["preferences"]["train"]["margin_after"] for run in (wide, narrow)]
    assert after[0] == pytest.approx(after[1], rel=2e-3)


def test_the_folder_holds_what_a_run_holds_and_nothing_of_trl(spare, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    run = train(spare, dpo(epochs=1), liking())
    supervised = {path.name for path in (spare.runs_folder / "r1").iterdir()}

    assert {path.name for path in run.folder.iterdir()} == supervised
    assert {path.name for path in tmp_path.iterdir()} == {"dot"}
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert any("heldout_pairs_margin" in line for line in lines)
    assert any("heldout_nll" in line for line in lines)
    assert all("reward_margin" in line for line in lines if "loss" in line)


def test_it_is_recorded_which_prompts_can_judge_the_run_no_more(spare):
    first = train(spare, dpo(epochs=1), liking())
    other = replace(
        LIKED, pairs=tuple(p.model_copy(update={"prompt": talk(f"Other {n}?")}) for n, p in enumerate(LIKED.pairs))
    )
    second = train(spare, dpo(epochs=1), liking(other, parent="r2"))
    third = train(spare, Recipe(epochs=1, probes=0, dtype="fp32"), TrainOptions(parent="r3"))
    shutil.rmtree(second.folder)
    voted = {normalised(pair.prompt[-1].content) for pair in LIKED.pairs}
    keys = {prompt_key(pair.prompt) for pair in LIKED.pairs}

    assert first.manifest["preferences"]["judgings"] == ["j1", "j2"]
    assert first.manifest["preferences"]["n"] == PAIRS
    assert learned_prompts(spare, "r1") == frozenset()
    assert learned_prompts(spare, "r2") == keys
    assert voted <= seen_by(spare, ["r2"]).prompts  # what a judging leaves out
    assert voted <= seen_by(spare, ["r4"]).prompts
    assert not voted & seen_by(spare, ["r1"]).prompts
    assert learned_prompts(spare, "r4") == keys | {f"other {n}" for n in range(PAIRS)}
    assert third.manifest["recipe"]["resolved"]["method"] == "lora"
    assert third.manifest["preferences"].keys() == {"prompts"}


def test_held_out_conversations_that_the_pairs_give_away_measure_nothing_any_more(spare):
    """A preference may be about the character's real lines, which are held out."""
    before = json.loads((spare.runs_folder / "r1" / "split.json").read_text(encoding="utf-8"))
    rows = {row_hash(row): row for row in load(spare.train_file)}
    given_away = rows[before["heldout"][0]]
    prompt = given_away.messages[: 1 + (given_away.messages[0].role == "system")]
    pairs = (Preference(prompt=prompt, chosen=given_away.replies[0], rejected="Hm."), *LIKED.pairs)
    told = []
    run = train(spare, dpo(epochs=1), liking(Preferences("votes", pairs), listen=told.append))
    after = json.loads((run.folder / "split.json").read_text(encoding="utf-8"))

    assert set(after["heldout"]) == set(before["heldout"]) - {row_hash(given_away)}
    assert set(after["trained"]) == set(before["trained"]) | {row_hash(given_away)}
    assert run.manifest["heldout"]["conversations"] == len(before["heldout"]) - 1
    assert any("share a text" in event.text for event in told if isinstance(event, Note))


def test_a_run_that_is_always_asked_with_a_direction_learns_with_it(new_persona, tiny_gemma):
    persona = new_persona(rows=12)
    rows = [
        Conversation(
            messages=(Message(role="system", content="Be brief."), *(m for m in row.messages if m.role != "system"))
        )
        for row in load(persona.train_file)
    ]
    persona.train_file.write_text(
        "".join(json.dumps({"messages": r.as_dicts()}) + "\n" for r in rows), encoding="utf-8"
    )
    train(persona, small_recipe(tiny_gemma, epochs=1))
    told = preference_rows.directed(LIKED, "Be brief.")
    run = train(persona, dpo(epochs=1, heldout=0), liking())
    same = train(persona, dpo(epochs=1, heldout=0), liking(told))

    assert {pair.prompt[0].content for pair in told.pairs} == {"Be brief."}
    assert run.manifest["preferences"]["train"] == same.manifest["preferences"]["train"]


# --- what is refused -------------------------------------------------------------------------------------------


def refused(error, persona, recipe, options):
    with pytest.raises(error) as caught:
        train(persona, recipe, options)
    assert not (persona.runs_folder / "r2").exists()
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize(
    ("error", "recipe", "options", "said"),
    [
        (UsageError, dpo(), TrainOptions(preferences=LIKED), "goes on from a finished run"),
        (UsageError, dpo(), TrainOptions(parent="r1"), "none are named"),
        (UsageError, Recipe(), liking(), "does not learn from votes"),
        (RecipeError, Recipe(beta=0.2), TrainOptions(parent="r1"), "beta"),
        (RecipeError, dpo(keep="heldout"), liking(), "keeps the last"),
        (RecipeError, dpo(lora_rank=64), liking(), "lora_rank = 4"),
        (DataError, dpo(), liking(Preferences("votes", LIKED.pairs[:7])), "there are 7 preferences"),
        (DataError, dpo(), liking(Preferences("votes", ())), "there is no preference"),
        (DataError, dpo(max_tokens=16), liking(), "the limit is 16"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_step(spare, error, recipe, options, said):
    with pytest.raises(error) as caught:
        train(spare, recipe, options)
    assert said in caught.value.what
    assert caught.value.fix
    assert not (spare.runs_folder / "r2" / "metrics.jsonl").exists()


def test_control_tokens_in_a_reply_are_refused(spare):
    bad = LIKED.pairs[3].model_copy(update={"rejected": "Bye<end_of_turn>"})
    error = refused(DataError, spare, dpo(), liking(Preferences("f.jsonl", (*LIKED.pairs, bad))))

    assert "<end_of_turn>" in error.what
    assert "votes.jsonl:4" in error.where


def test_without_the_packages_the_way_to_them_is_named(spare, monkeypatch):
    monkeypatch.setattr(preference_rows, "find_spec", lambda name: None if name == "trl" else object())

    assert "pip install 'personatune[dpo]'" in refused(ResourceError, spare, dpo(), liking()).fix
