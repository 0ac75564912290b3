"""Laws of the pool: unheard by every contestant, each prompt once, those judged before last."""

from __future__ import annotations

import json

import pytest
from contests import Clock, plainly, voices
from personas import add_run, persona_in, rows

from personatune.data.normalise import normalised
from personatune.errors import ModelError, RunError, UsageError
from personatune.judging.beginning import find_judging, open_judging
from personatune.judging.plan import JudgingOptions, plan_of
from personatune.judging.prompts import everyday, read_prompts
from personatune.judging.replies import Making, prepare
from personatune.judging.session import Session, Shown
from personatune.store import judgings
from personatune.store.store import Store


@pytest.fixture
def persona(tmp_path):
    persona = persona_in(tmp_path / "dot")
    every = rows(20)
    add_run(persona, "r1", every[:16], every[16:])
    add_run(persona, "r2", every[:14], every[14:])
    return persona


@pytest.fixture
def store(persona):
    with Store.open(persona.store_file) as store:
        yield store


def test_the_everyday_prompts_are_many_and_each_is_another(persona):
    assert len(everyday()) >= 90
    assert len({normalised(prompt) for prompt in everyday()}) == len(everyday())


def test_suite_then_held_out_then_everyday_without_what_anybody_learned(persona, store):
    judging = open_judging(store, persona, ["r1", "r2"])
    pairs = judgings.pairs(store, judging.id)
    sources = [pair.source for pair in pairs]

    assert sources == ["suite:rain", *["held out"] * 4, *["everyday"] * len(everyday())]
    assert [pair.messages[0].content for pair in pairs[1:5]] == [
        f"What do you say to number {at}?" for at in range(16, 20)
    ]
    assert plan_of(judging).left_out == 1, "the suite's second prompt was trained on, but for case and signs"
    assert judging.contestants == ("dot@r1", "dot@r2")
    assert [reply.sample for reply in judgings.replies(store, judging.id)] == [None] * 2 * len(pairs)


def test_prompts_that_a_run_learned_preferences_from_are_never_asked(persona, store):
    used = [normalised(everyday()[3]), normalised("It has been raining all day.")]
    add_run(persona, "r3", rows(16), rows(4, 16), preferences={"prompts": used})
    add_run(persona, "r4", rows(16), rows(4, 16), parent="r3")
    for names in (["r3", "base"], ["r1", "r4"]):
        asked = [pair.messages[-1].content for pair in judgings.pairs(store, open_judging(store, persona, names).id)]
        assert everyday()[3] not in asked
        assert "It has been raining all day." not in asked
        assert everyday()[4] in asked


def test_real_lines_whose_context_was_learned_from_as_a_preference_are_not_asked_again(persona, store):
    used = ["what do you say to number 19 and then"]
    add_run(persona, "r3", rows(16), rows(4, 16), preferences={"prompts": used})
    pairs = judgings.pairs(store, open_judging(store, persona, ["r3", "data"]).id)
    assert [pair.messages[0].content for pair in pairs if len(pair.messages) == 3] == [
        f"What do you say to number {at}?" for at in (16, 17, 18)
    ]


def test_real_lines_are_unseen_by_every_run_and_come_with_what_was_said_before(persona, store):
    judging = open_judging(store, persona, ["data", "r2"])
    pairs = judgings.pairs(store, judging.id)

    assert judging.contestants == ("dot@r2", "dot@data"), "the data stands last"
    assert len(pairs) == 12, "six rows of two turns"
    assert {len(pair.messages) for pair in pairs} == {1, 3}
    for pair in pairs:
        (row,) = (row for row in rows(20)[14:] if row.messages[: len(pair.messages)] == pair.messages)
        assert pair.real == row.messages[len(pair.messages)].content
    three = open_judging(store, persona, ["r1", "r2", "data"])
    assert len(judgings.pairs(store, three.id)) == 8
    with pytest.raises(UsageError, match="only to the prompts of its own rows"):
        open_judging(store, persona, ["base", "data"], JudgingOptions(own_prompts=("Hello?",)))
    add_run(persona, "r3", rows(20), [])
    with pytest.raises(UsageError, match="no real line"):
        open_judging(store, persona, ["r3", "data"])


def test_rows_that_were_edited_or_varied_since_do_not_count_as_unseen(persona, store):
    edited = rows(20)[0]
    lines = persona.train_file.read_text("utf-8").splitlines()
    first = json.loads(lines[0])
    first["messages"][1]["content"] = "Another answer to an old question."
    varied = json.loads(lines[19]) | {"origin": {"vary": "short"}}
    persona.train_file.write_text("\n".join([json.dumps(first), *lines[1:19], json.dumps(varied)]) + "\n", "utf-8")
    judging = open_judging(store, persona, ["r1", "data"])
    said = [pair.messages[0].content for pair in judgings.pairs(store, judging.id)]
    assert edited.prompts[0] not in said


@pytest.mark.parametrize("model", ["starter/gemma-3-27m", "no such model", "somewhere/model.gguf"])
def test_an_opponent_whose_model_is_not_there_leaves_no_judging_behind(persona, store, model):
    with pytest.raises(ModelError, match="there is no"):
        open_judging(store, persona, ["r1", "prompted"], JudgingOptions(model=model))
    assert judgings.listed(store) == []


def test_own_prompts_take_the_place_of_all_others(persona, store):
    own = read_prompts("# mine\n\n Tell me a story. \nWHAT do you say to number 2\ntell me a story\n", "own.txt")
    judging = open_judging(store, persona, ["r1", "r2"], JudgingOptions(own_prompts=own))
    assert [pair.messages[0].content for pair in judgings.pairs(store, judging.id)] == ["Tell me a story."]


def test_the_same_contestants_go_on_until_it_is_closed_and_anew_comes_to_new_prompts(persona, store):
    clock = Clock()
    first = open_judging(store, persona, ["r1", "r2"], JudgingOptions(prompts=30))
    assert open_judging(store, persona, ["r2", "r1"]) == first
    with pytest.raises(UsageError, match="still open"):
        open_judging(store, persona, ["r1", "r2"], JudgingOptions(anew=True))
    session = Session(store, first, clock)
    session.begin("ada")
    prepare(session, Making(voices(plainly)), 1000)
    judged = set()
    for _ in range(12):
        shown = session.next_pair("ada")
        assert isinstance(shown, Shown)
        judged.add(shown.prompt)
        clock.pass_by(9)
        session.vote(shown.key, "tie")
    session.close()
    assert open_judging(store, persona, ["r1", "r2"]).id == first.id
    assert find_judging(store, persona, ["r1", "r2"]).id == first.id
    assert find_judging(store, persona, ["r1", "base"]) is None

    second = open_judging(store, persona, ["r1", "r2"], JudgingOptions(anew=True))
    order = [pair.messages for pair in judgings.pairs(store, second.id)]
    assert second.id != first.id
    assert set(order[-len(judged) :]) == judged
    third = open_judging(store, persona, ["r1", "prompted"])
    assert not judged <= {pair.messages for pair in judgings.pairs(store, third.id)[-len(judged) :]}


def test_other_parameters_are_another_contest(persona, store):
    first = open_judging(store, persona, ["r1", "r2"])
    (persona.runs_folder / "r2" / "model" / "generation_config.json").write_text('{"temperature": 0.3}')
    second = open_judging(store, persona, ["r1", "r2"])
    assert second.id != first.id
    assert plan_of(second).parameters[1]["temperature"] == 0.3


@pytest.mark.parametrize(
    ("names", "error", "said"),
    [
        (["r1"], UsageError, "nobody to be compared with"),
        (["r1", "r1"], UsageError, "twice"),
        (["r1", "r9"], RunError, "no run r9"),
        (["r1", "nonsense"], UsageError, "no contestant"),
        (["r1", "r2", "base", "prompted", "data"], UsageError, "hundreds of votes"),
    ],
)
def test_who_cannot_be_judged_is_refused_with_a_way_out(persona, store, names, error, said):
    with pytest.raises(error, match=said) as caught:
        open_judging(store, persona, names)
    assert caught.value.fix
    assert judgings.listed(store) == []


def test_a_persona_without_suite_or_in_another_script_can_be_judged(tmp_path):
    persona = persona_in(tmp_path / "dot", suite=None)
    with Store.open(persona.store_file) as store:
        judging = open_judging(store, persona, ["base", "prompted"])
        assert {pair.source for pair in judgings.pairs(store, judging.id)} == {"held out", "everyday"}
        own = JudgingOptions(own_prompts=("今日は何をしましたか。", "وماذا بعد؟", "🦀"), anew=False)
        other = open_judging(store, persona, ["base", "prompted", "data"])
        assert other.id != judging.id
        Session(store, judging).close()
        again = open_judging(store, persona, ["base", "prompted"], own.model_copy(update={"anew": True}))
        assert len(judgings.pairs(store, again.id)) == 3
