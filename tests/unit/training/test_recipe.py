"""A recipe is one thing in four shapes, and says which of its keys somebody chose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personatune.errors import RecipeError, ResourceError
from personatune.training.recipe import Recipe, combine, read_recipe, write_recipe

KEYS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.text(min_size=1, max_size=40),
        "method": st.sampled_from(["lora", "full", "dpo"]),
        "beta": st.none() | st.floats(1e-3, 10),
        "epochs": st.integers(1, 1000),
        "learning_rate": st.none() | st.floats(1e-9, 1),
        "schedule": st.sampled_from(["linear", "cosine", "constant"]),
        "warmup": st.floats(0, 0.99),
        "batch_size": st.integers(1, 4096),
        "lora_dropout": st.floats(0, 0.99),
        "heldout": st.floats(0, 0.5),
        "seed": st.integers(0, 2**31 - 1),
        "device": st.sampled_from(["auto", "cuda", "mps", "cpu"]),
    },
)


def test_later_layers_win_and_untouched_keys_keep_their_defaults():
    recipe = combine({"epochs": 2, "seed": 5}, {"epochs": 7}, {"method": "full"})

    assert (recipe.epochs, recipe.seed, recipe.method) == (7, 5, "full")
    assert recipe.batch_size == Recipe().batch_size


@given(KEYS)
def test_given_holds_the_keys_that_were_chosen_and_no_other(keys):
    recipe = combine(keys)

    assert recipe.given == keys
    assert combine(recipe.given) == recipe


@given(KEYS)
def test_resolving_fills_gaps_only_and_only_once(keys):
    recipe = combine(keys)
    resolved = recipe.resolved()

    assert [key for key, value in resolved.model_dump().items() if value is None] in ([], ["beta"])
    assert resolved.beta is not None or recipe.method != "dpo"
    assert resolved.resolved() == resolved
    assert all(getattr(resolved, key) == value for key, value in keys.items() if value is not None)


def test_each_method_has_a_learning_rate_of_its_own():
    lora, full = Recipe(method="lora").resolved(), Recipe(method="full").resolved()

    assert lora.learning_rate != full.learning_rate
    assert Recipe(method="full", learning_rate=1e-3).resolved().learning_rate == 1e-3


def test_votes_move_the_last_weights_and_know_no_other(keys=("heldout", "last")):
    assert {Recipe(method="dpo", keep=keep).resolved().keep for keep in keys} == {"last"}
    assert Recipe(keep="heldout").resolved().keep == "heldout"


@given(KEYS)
def test_what_is_written_as_toml_is_read_back_equal(tmp_path_factory, keys):
    path = tmp_path_factory.getbasetemp() / "recipe.toml"
    recipe = combine(keys)
    write_recipe(path, recipe)

    assert combine(read_recipe(path)) == recipe


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [("epoch", "epochs"), ("learningrate", "learning_rate"), ("lora-rank", "lora_rank"), ("batchsize", "batch_size")],
)
def test_a_misspelt_key_names_the_right_one(misspelt, meant):
    with pytest.raises(RecipeError) as caught:
        combine({misspelt: 3}, where="mine.toml")

    assert repr(misspelt) in caught.value.what
    assert repr(meant) in caught.value.fix
    assert caught.value.where == "mine.toml"


@pytest.mark.parametrize(
    "keys",
    [
        {"epochs": 0},
        {"heldout": 0.6},
        {"learning_rate": 0},
        {"lora_dropout": 1.0},
        {"method": "galore"},
        {"seed": -1},
        {"batch_size": "four"},
        {"learning_rate": float("nan")},
        {"max_grad_norm": float("inf")},
        {"vocab": "many"},
        {"vocab": 9},
    ],
)
def test_a_bad_value_names_its_key(keys):
    with pytest.raises(RecipeError) as caught:
        combine(keys)

    assert repr(next(iter(keys))) in caught.value.what


def test_bad_toml_names_the_file_and_the_line(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("epochs = 3\nseed = = 4\n", encoding="utf-8")

    with pytest.raises(RecipeError, match="not valid TOML") as caught:
        read_recipe(path)
    assert caught.value.where == f"{path}:2"


def test_a_bad_key_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("epochz = 3\n", encoding="utf-8")

    with pytest.raises(RecipeError, match="epochz") as caught:
        read_recipe(path)
    assert caught.value.where == str(path)


def test_a_recipe_file_that_is_missing_says_so(tmp_path):
    with pytest.raises(ResourceError, match=r"none\.toml"):
        read_recipe(tmp_path / "none.toml")


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("epochs = 4\n", encoding="utf-8-sig")

    assert read_recipe(path) == {"epochs": 4}


def test_a_recipe_is_frozen():
    recipe = Recipe()

    with pytest.raises(ValueError, match="frozen"):
        recipe.epochs = 4
