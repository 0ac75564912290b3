"""The tuned recipes can be used as they are, explain each key, and cannot drift from the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from personatune.training.recipe import Recipe, combine, read_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
FILES = sorted(FOLDER.glob("*.toml"))
each = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def test_the_starting_points_are_there():
    assert {path.stem for path in FILES} == {
        "default-lora",
        "english-32k",
        "full-270m",
        "quick-cpu",
        "small-memory",
    } | {f"gemma-3-{size}" for size in ("1b", "4b", "12b", "27b")}


@each
def test_a_recipe_is_valid_and_says_only_what_it_chooses(path):
    keys = read_recipe(path)

    assert combine(keys, where=path).given == keys
    if path.stem != "default-lora":
        defaults = Recipe().model_dump()
        assert [key for key, value in keys.items() if value == defaults[key]] == []


@each
def test_a_comment_stands_above_each_key(path):
    lines = path.read_text("utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if line and not line.startswith("#")]

    assert len(keys) == len(read_recipe(path))
    assert [lines[number] for number in keys if not lines[number - 1].startswith("# ")] == []


def test_the_default_recipe_is_the_default():
    assert combine(read_recipe(FOLDER / "default-lora.toml")) == Recipe().resolved()


def test_small_memory_takes_the_steps_of_the_default():
    small, default = combine(read_recipe(FOLDER / "small-memory.toml")), Recipe()

    assert small.batch_size * small.accumulate == default.batch_size * default.accumulate
