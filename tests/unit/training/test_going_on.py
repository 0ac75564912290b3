"""What a run takes over from the one that it goes on from, and which rows it may be measured on."""

from __future__ import annotations

import json

import pytest

from personatune.conversation import Conversation, Message, Origin
from personatune.data.split import Split, split
from personatune.data.version import row_hash
from personatune.training import going_on
from personatune.training.going_on import SHAPE, Parent
from personatune.training.recipe import Recipe


@pytest.fixture
def parent(tmp_path):
    made = {"model": {"id": "starter/gemma-3-270m"}, "recipe": {"resolved": Recipe().resolved().model_dump()}}
    return Parent("r1", tmp_path, made)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("missing", SHAPE)
def test_of_a_run_from_before_a_key_existed_its_usual_value_is_taken(parent, method, missing):
    resolved = parent.manifest["recipe"]["resolved"]
    resolved.update(Recipe(method=method).resolved().model_dump())
    del resolved[missing]
    inherited = going_on.inherit(Recipe(seed=5), parent)

    usual = Recipe(method="lora" if missing == "method" else method).resolved()
    assert getattr(inherited, missing) == getattr(usual, missing)
    assert inherited.seed == 5


# --- what is held out ------------------------------------------------------------------------------------------


def row(prompt: str, reply: str, **origin: object) -> Conversation:
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=reply))
    return Conversation(messages=messages, origin=Origin.model_validate(origin) if origin else None)


ROWS = [row(f"Frage {n}?", f"Antwort {n}!") for n in range(40)]
RECIPE = Recipe(heldout=0.2, seed=3)


@pytest.fixture
def parts(parent):
    made = split(ROWS, heldout_fraction=RECIPE.heldout, seed=RECIPE.seed)
    going_on.write_split(parent.folder, made, None)
    return made


def edited(rows: tuple[Conversation, ...]) -> list[Conversation]:
    """Every other row with another reply, the rest with another prompt."""
    return [
        row(one.prompts[0].upper(), f"{one.replies[0]} Ja.") if at % 2 else row(f"Ach, {at}?", f"{one.replies[0]} ")
        for at, one in enumerate(rows)
    ]


def test_rows_that_were_edited_since_the_parent_learned_them_are_never_held_out(parent, parts):
    changed = edited(parts.train)
    new = [row(f"Neu {n}?", f"Neues {n}.") for n in range(20)]
    second, _ = going_on.split_as(parent, [*changed, *parts.heldout, *new], RECIPE)

    assert not set(map(row_hash, changed)) & set(map(row_hash, ROWS))
    assert not [held for held in second.heldout if held in changed]
    assert {row_hash(held) for held in second.heldout} >= {row_hash(held) for held in parts.heldout}
    assert [held for held in second.heldout if held in new]


def test_grandchildren_know_what_their_grandparent_learned_and_held_out(parent, parts, tmp_path):
    new = [row(f"Neu {n}?", f"Neues {n}.") for n in range(20)]
    second, _ = going_on.split_as(parent, new, RECIPE)
    child = Parent("r2", tmp_path / "r2", parent.manifest)
    going_on.write_split(child.folder, second, parent)
    changed = edited(parts.train)
    third, told = going_on.split_as(child, [*changed, *parts.heldout, *new], RECIPE)

    assert set(third.heldout) == {*parts.heldout, *second.heldout}
    assert f"{len(third.heldout)} rows are held out as they were there, 0 more" in told


def test_a_split_of_before_texts_were_kept_is_still_read(parent, parts):
    path = parent.folder / going_on.SPLIT_FILE
    kept = json.loads(path.read_text(encoding="utf-8"))
    del kept["texts"]
    path.write_text(json.dumps(kept), encoding="utf-8")
    second, _ = going_on.split_as(parent, ROWS, RECIPE)

    assert second == Split(parts.train, parts.heldout)


def test_it_says_when_held_out_rows_may_repeat_what_the_parent_learned(parent, parts):
    cut = [row(f"Und {n}?", f"Stück {n}.", vary="merge+trim", rows=[1, 2]) for n in range(20)]
    kept = [row(f"Gut {n}?", f"Gleich {n}.", vary="keep", row=n) for n in range(20)]

    assert "may repeat what r1 learned" in going_on.split_as(parent, [*ROWS, *cut], RECIPE)[1]
    assert "may repeat" not in going_on.split_as(parent, [*ROWS, *kept], RECIPE)[1]
    assert "may repeat" not in going_on.split_as(parent, ROWS, RECIPE)[1]
