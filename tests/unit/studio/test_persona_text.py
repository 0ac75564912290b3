"""persona.toml is changed in place: only the value that was changed differs afterwards."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from personatune.errors import PersonaError
from personatune.studio.persona_text import edited

FILE = '''\
# who
name = "Robin"   # shown to people
summary = 'A "bold" bird.'

# the world
description = """
name = "not this one"
[training]
"""
greeting = "Hello # there"

# choices
[training] # of this bird
# slow and sure
epochs = 4

[generation]
temperature = 0.9
'''
HERE = Path("persona.toml")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "Rob"),
        ("name", 'The "Great" \\ Robin'),
        ("summary", "Two\nlines"),
        ("description", 'Tail feathers """ and\ttabs \\'),
        ("description", ""),
        ("greeting", "\U0001f426 \u202eolleh"),
        ("voice", "a key that was not there"),
    ],
)
def test_one_value_changes_and_everything_else_stays(name: str, value: str) -> None:
    after = edited(FILE, {name: value}, HERE)
    before, now = tomllib.loads(FILE), tomllib.loads(after)

    assert now[name].strip() == value.strip()
    assert {**now, name: None} == {**before, name: None}
    comments = ["# who", "# shown to people", "# the world", "# choices", "# of this bird", "# slow and sure"]
    assert [comment for comment in comments if comment not in after] == []


def test_what_is_the_same_leaves_the_text_as_it_is() -> None:
    keys = tomllib.loads(FILE)

    assert edited(FILE, {"name": "Robin", "description": keys["description"].replace("\n", "\r\n")}, HERE) == FILE
    assert edited(FILE, {"training": "# slow and sure\r\nepochs = 4\r\n"}, HERE) == FILE


def test_a_table_is_lines_with_their_comments() -> None:
    after = edited(FILE, {"training": "epochs = 9 # more", "generation": ""}, HERE)

    assert tomllib.loads(after)["training"] == {"epochs": 9}
    assert tomllib.loads(after)["generation"] == {}
    assert "# more" in after
    assert "# of this bird" in after


def test_a_table_that_is_not_there_is_added() -> None:
    after = edited('name = "x"\n', {"generation": "top_k = 5"}, HERE)

    assert tomllib.loads(after) == {"name": "x", "generation": {"top_k": 5}}


@pytest.mark.parametrize(
    "body",
    ["epochs", "[x]\ny=1\n[training]", '"""', "a = 1\na = 2", "a = " + "9" * 5000, "a = " + "[" * 5000],
)
def test_a_table_that_cannot_be_is_refused(body: str) -> None:
    with pytest.raises(PersonaError):
        edited(FILE, {"training": body}, HERE)


@pytest.mark.parametrize(
    "text",
    [
        'name = "x"\ntraining = {epochs = 1}\n',
        'name = "x"\n[ training ]\nepochs = 1\n',
        'name="x"\ntraining.epochs = 1\n',
    ],
)
def test_what_cannot_be_changed_without_loss_is_left_alone(text: str) -> None:
    try:
        after = edited(text, {"training": "epochs = 2"}, HERE)
    except PersonaError as error:
        assert "editor" in str(error.fix)
    else:
        assert tomllib.loads(after) == {"name": "x", "training": {"epochs": 2}}
