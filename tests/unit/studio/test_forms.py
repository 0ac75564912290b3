"""A form is its model: every key has a control with the model's bounds, and what was chosen comes out of it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from personatune.generation.params import GenerationParams
from personatune.persona import Character
from personatune.studio.forms import faults, fields_of, given
from personatune.training.recipe import Recipe


@pytest.mark.parametrize("model", [Recipe, GenerationParams, Character])
def test_every_key_has_a_control_and_a_sentence(model: type) -> None:
    fields = fields_of(model, {})

    assert [field.name for field in fields] == list(model.model_fields)  # type: ignore[attr-defined]
    assert all(field.hint and field.label for field in fields)


@pytest.mark.parametrize("model", [Recipe, GenerationParams])
def test_what_was_not_touched_is_not_chosen(model: type) -> None:
    untouched = {field.name: field.value for field in fields_of(model, {})}

    assert given(model, untouched, {}) == {}


def test_what_is_chosen_is_what_differs_from_what_would_count() -> None:
    own = {"epochs": 4, "learning_rate": 0.001}
    sent = {field.name: field.value for field in fields_of(Recipe, own)}

    assert given(Recipe, sent, own) == {}
    assert given(Recipe, sent | {"epochs": "2", "learning_rate": "1e-3", "warmup": "0.10"}, own) == {"epochs": "2"}
    assert given(Recipe, sent | {"epochs": "", "unknown": "x"}, own) == {}


def test_controls_have_the_bounds_of_the_model() -> None:
    fields = {field.name: field for field in fields_of(Recipe, {})}

    assert (fields["epochs"].kind, fields["epochs"].low, fields["epochs"].high) == ("int", 1, 1000)
    assert fields["schedule"].choices == ("linear", "cosine", "constant")
    assert fields["vocab"].kind == "text"
    assert (fields["learning_rate"].kind, fields["learning_rate"].value) == ("float", "")
    assert "<code>keep</code>" in fields["epochs"].hint


@pytest.mark.parametrize(
    ("keys", "name", "words"),
    [({"epochs": "0"}, "epochs", "greater than or equal to 1"), ({"vocab": "3"}, "vocab", "256"),
     ({"schedule": "<b>"}, "schedule", "linear"), ({"nope": 1}, "nope", "not permitted")],
)  # fmt: skip
def test_faults_are_sentences_by_field(keys: dict[str, object], name: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate(keys)
    found = faults(caught.value)

    assert list(found) == [name]
    assert words in found[name]
    assert found[name].endswith(".")
