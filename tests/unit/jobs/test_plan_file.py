"""Plans: what a file names is laid out as trainings, or refused with what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from personatune import persona as personas
from personatune.data.load import to_jsonl
from personatune.errors import PersonatuneError, RecipeError, UsageError
from personatune.jobs.plan import Known, made, read_plan, seeds_of, units_of
from personatune.models.resolve import ModelSource
from personatune.persona import Persona
from tiny_models import small_talk


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("dot", "ünal"):
        folder = tmp_path / name
        personas.create(folder, display_name=name.title(), train_jsonl=to_jsonl(small_talk(12)), suite_yaml=None)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "long.toml").write_text("epochs = 5\nseed = 9\n", "utf-8")
    return tmp_path


def plan_file(place: Path, text: str, name: str = "plan.toml") -> Path:
    (place / name).write_text(text, "utf-8")
    return place / name


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("1..4", [1, 2, 3, 4]),
        ("7", [7]),
        ("0 3,5", [0, 3, 5]),
        ("2..3 2", [2, 3]),
        (4, [4]),
        ((3, 1, 3), [3, 1]),
        ("5..5", [5]),
    ],
)
def test_seeds_are_read_and_none_twice(text: str | int | tuple[int, ...], seeds: list[int]):
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "eight", "1...3", "-1", "8..1", "1..99999999", "1.5"])
def test_what_is_no_seed_is_said(text: str):
    with pytest.raises(UsageError) as refused:
        seeds_of(text)

    assert "1..8" in str(refused.value.fix)


TOML = """\
jobs = 3
[[train]]
personas = ["dot", "ünal"]
seeds = "1..2"
[train.recipes]
long = "recipes/long.toml"
wide = {lora_rank = 32, batch_size = 2}
[[train]]
personas = ["dot"]
recipes = {long = "recipes/long.toml"}
"""
AS_JSON = {
    "jobs": 3,
    "train": [
        {
            "personas": ["dot", "ünal"],
            "seeds": [1, 2],
            "recipes": {"long": "recipes/long.toml", "wide": {"lora_rank": 32, "batch_size": 2}},
        },
        {"personas": ["dot"], "recipes": {"long": "recipes/long.toml"}},
    ],
}


@pytest.mark.parametrize("as_json", [False, True])
def test_a_plan_is_every_persona_with_every_recipe_and_seed(place: Path, as_json: bool):
    text, name = (json.dumps(AS_JSON), "plan.json") if as_json else (TOML, "plan.toml")
    plan = read_plan(plan_file(place, text, name))

    units = units_of(plan, place, Persona.open)

    assert plan.jobs == 3
    assert [unit.title for unit in units] == [
        *(f"{who} {recipe} seed {n}" for who in ("dot", "ünal") for recipe in ("long", "wide") for n in (1, 2)),
        "dot long seed 9",
    ]
    assert (units[0].recipe.epochs, units[2].recipe.lora_rank) == (5, 32)
    assert units[2].words() == [
        "train", str(place / "dot"), "--lora-rank=32", "--batch-size=2", "--seed=1", "--json",
    ]  # fmt: skip


def test_one_group_may_stand_at_the_top(place: Path):
    plan = read_plan(plan_file(place, 'personas = ["dot"]\nseeds = 4\njobs = 2\n'))

    (unit,) = units_of(plan, place, Persona.open)

    assert (plan.jobs, unit.title) == (2, "dot seed 4")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "personas"),
        ("personas = []", "personas"),
        ('personas = ["dot"]\nseedz = 3', "seedz"),
        ('personas = ["dot"]\njobs = 0', "jobs"),
        ('personas = ["dot"]\nseeds = "one"', "one"),
        ('personas = ["nobody"]', "nobody"),
        ('personas = ["dot"]\nrecipes = {a = "there-is-none.toml"}', "there-is-none.toml"),
        ('personas = ["dot"]\nrecipes = {a = {epochs = 0}}', "epochs"),
        ('personas = ["dot"]\nrecipes = {a = {epocs = 2}}', "epocs"),
        ('personas = ["dot"]\nrecipes = {a = {method = "dpo"}}', "votes"),
        ("personas = [", "TOML"),
    ],
)
def test_a_wrong_plan_is_refused_before_anything_is_trained(place: Path, text: str, named: str):
    with pytest.raises(PersonatuneError) as refused:
        units_of(read_plan(plan_file(place, text)), place, Persona.open)

    assert named in str(refused.value)


@pytest.mark.parametrize("text", ["{", "[1]", '"plan"', "null"])
def test_json_that_is_no_plan_is_refused(place: Path, text: str):
    with pytest.raises(UsageError, match=r"plan"):
        read_plan(plan_file(place, text, "plan.json"))


def test_the_same_training_twice_is_refused_however_it_is_written(place: Path):
    dot = Persona.open(place / "dot")
    known = Known(lambda name: ModelSource(name, place, "hash of " + name, "gemma3_text", {}))
    first, again = made(dot, "short", {"epochs": 1, "seed": 1}), made(dot, "one", {"seed": 1, "epochs": 1})

    with pytest.raises(UsageError, match="dot short seed 1 and dot one seed 1"):
        known.refuse_doubles([first, again])
    known.refuse_doubles(
        [first, made(dot, "short", {"epochs": 1, "seed": 2}), made(Persona.open(place / "ünal"), "", {})]
    )


def test_votes_are_no_part_of_a_plan(place: Path):
    with pytest.raises(RecipeError, match="votes"):
        made(Persona.open(place / "dot"), "", {"method": "dpo"})
