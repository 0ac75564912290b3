"""Files of preferences: what is written is read back, what anybody wrote is understood, what is wrong is named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personatune import manifest
from personatune.conversation import Message
from personatune.data.preferences import (
    Preference,
    Preferences,
    learned_prompts,
    load,
    prompt_key,
    settled,
    to_jsonl,
)
from personatune.errors import DataError, RunError
from personatune.persona import create

TEXTS = st.text(min_size=1, max_size=20).map(str.strip).filter(bool).filter(lambda t: "\0" not in t)


def said(role, content):
    return {"role": role, "content": content}


def asked(*texts):
    roles = ("user", "assistant")
    return tuple(Message(role=roles[n % 2], content=text) for n, text in enumerate(texts))


def written(tmp_path, *rows):
    file = tmp_path / "votes.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return file


PLAIN = {"prompt": [said("user", "Hi?")], "chosen": [said("assistant", "Yo!")], "rejected": [said("assistant", "No.")]}


@given(TEXTS, TEXTS, TEXTS, st.integers(1, 9), st.lists(st.from_regex("j[1-9]", fullmatch=True), unique=True))
def test_what_is_written_is_read_back(tmp_path_factory, prompt, chosen, rejected, votes, judgings):
    if chosen == rejected:
        return
    one = Preference(
        prompt=asked(prompt, "Well?", prompt),
        chosen=chosen,
        rejected=rejected,
        votes_for=votes,
        judgings=tuple(judgings),
    )
    file = tmp_path_factory.getbasetemp() / "preferences.jsonl"
    file.write_text(to_jsonl([one]), "utf-8")
    (found,) = load(file).pairs

    assert found.model_copy(update={"source": None}) == one


def test_a_row_is_the_shape_that_preference_trainers_read():
    one = Preference(prompt=asked("Hi?"), chosen="Yo!", rejected="No.", votes_for=2, votes_against=1, judgings=("j3",))

    assert one.as_dict() == PLAIN | {"votes": {"for": 2, "against": 1}, "judgings": ["j3"]}


@pytest.mark.parametrize(
    "row",
    [
        PLAIN,
        PLAIN | {"score_chosen": 4.5, "source": "of another tool"},
        {"prompt": "Hi?", "chosen": "Yo!", "rejected": "No."},
        {"prompt": [said("user", " Hi?\n")], "chosen": "Yo! ", "rejected": [said("assistant", "No.")]},
        {
            "chosen": [said("user", "Hi?"), said("assistant", "Yo!")],
            "rejected": [said("user", "Hi?"), said("assistant", "No.")],
        },
    ],
)
def test_the_usual_shapes_mean_the_same(tmp_path, row):
    (found,) = load(written(tmp_path, row)).pairs

    assert (found.prompt, found.chosen, found.rejected) == (asked("Hi?"), "Yo!", "No.")
    assert (found.votes_for, found.votes_against, found.judgings) == (1, 0, ())
    assert found.source is not None
    assert found.source.line == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "object"),
        ({"prompt": "Hi?", "chosen": "Yo!"}, "no 'rejected'"),
        ({}, "no 'chosen' and no 'rejected'"),
        ({"chosen": "Yo!", "rejected": "No."}, "'chosen' must be a list"),
        (
            {
                "chosen": [said("user", "A?"), said("assistant", "b")],
                "rejected": [said("user", "C?"), said("user", "d")],
            },
            "do not begin with the same messages",
        ),
        (PLAIN | {"prompt": []}, "'prompt'"),
        (PLAIN | {"prompt": 7}, "'prompt'"),
        (PLAIN | {"prompt": [said("assistant", "I begin.")]}, "no conversation"),
        (PLAIN | {"prompt": [said("user", "A?"), said("user", "B?")]}, "no conversation"),
        (PLAIN | {"prompt": [said("system", "Be kind.")]}, "no conversation"),
        (PLAIN | {"prompt": "  "}, "empty message"),
        (PLAIN | {"chosen": " "}, "empty message"),
        (PLAIN | {"chosen": [said("user", "Yo!")]}, "a reply of the assistant"),
        (PLAIN | {"chosen": [said("assistant", "Yo!"), said("user", "And?")]}, "one reply, not 2"),
        (PLAIN | {"chosen": None}, "'chosen'"),
        (PLAIN | {"rejected": "Yo!"}, "are the same"),
        (PLAIN | {"votes": 3}, "'votes'"),
        (PLAIN | {"votes": {"for": -1}}, "'votes'"),
        (PLAIN | {"votes": {"for": True}}, "'votes'"),
        (PLAIN | {"judgings": 1}, "'judgings'"),
        (PLAIN | {"prompt": [said("narrator", "Hi?")]}, "unknown role"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path, row, message):
    file = written(tmp_path, PLAIN, "", row)
    with pytest.raises(DataError) as caught:
        load(file)

    assert message in caught.value.what
    assert str(caught.value.where) == f"{file}:3"
    assert '"chosen"' in caught.value.fix


def test_many_bad_rows_are_counted_and_five_are_named(tmp_path):
    with pytest.raises(DataError) as caught:
        load(written(tmp_path, *["nonsense"] * 9))

    assert "9 rows of votes.jsonl" in caught.value.what
    assert "and 4 more" in caught.value.what


def test_an_empty_file_says_so(tmp_path):
    with pytest.raises(DataError, match="holds no preference"):
        load(written(tmp_path))


def test_votes_on_the_same_two_replies_are_counted_together():
    one = Preference(prompt=asked("Hi?"), chosen="a", rejected="b", judgings=("j1",))
    turned = Preference(prompt=asked("Hi?"), chosen="b", rejected="a", votes_for=2, judgings=("j2",))
    other = Preference(prompt=asked("Ho?"), chosen="a", rejected="b")
    (first, second) = settled([one, other, turned])

    assert (first.chosen, first.rejected, first.votes_for, first.votes_against) == ("b", "a", 2, 1)
    assert first.judgings == ("j1", "j2")
    assert second == other
    assert settled([one, one.model_copy(update={"chosen": "b", "rejected": "a"})]) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 3)), max_size=8), st.randoms())
def test_the_order_of_votes_changes_nothing(votes, chance):
    rows = [
        Preference(prompt=asked("Hi?"), chosen=c, rejected="b" if c == "a" else "a", votes_for=ayes, votes_against=noes)
        for c, ayes, noes in votes
    ]
    shuffled = rows[:]
    chance.shuffle(shuffled)

    assert settled(rows) == settled(shuffled)


def test_the_same_pairs_are_the_same_version_whatever_is_known_beside_them():
    one = Preference(prompt=asked("Hi?"), chosen="a", rejected="b")
    voted = one.model_copy(update={"votes_for": 7, "judgings": ("j1",)})
    turned = one.model_copy(update={"chosen": "b", "rejected": "a"})

    assert Preferences("votes", (one,)).version == Preferences("a.jsonl", (voted,)).version
    assert Preferences("votes", (one,)).version != Preferences("votes", (turned,)).version


def test_a_prompt_is_recognised_by_what_the_user_says():
    assert prompt_key(asked("It’s  LATE!")) == prompt_key((Message(role="system", content="Hm."), *asked("its late")))
    assert prompt_key(asked("A?", "b", "C?")) == prompt_key(asked("A?", "other", "C?")) != prompt_key(asked("A?"))


def test_the_prompts_of_a_run_are_read_from_its_manifest(tmp_path):
    persona = create(tmp_path / "dot", display_name="Dot", train_jsonl="", suite_yaml=None)
    for name, more in (("r1", {}), ("r2", {"preferences": {"prompts": ["hi"]}})):
        manifest.write(persona.runs_folder / name, {"run": name, "model": {"id": "x"}, **more})

    assert learned_prompts(persona, "r1") == frozenset()
    assert learned_prompts(persona, "r2") == {"hi"}
    with pytest.raises(RunError):
        learned_prompts(persona, "r3")
