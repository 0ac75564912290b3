"""Laws of chosen parameters: what is chosen is answered with, and what else the file says stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personatune.errors import RunError
from personatune.generation import chosen
from personatune.generation.params import GenerationParams

PARAMS = st.builds(
    GenerationParams,
    temperature=st.floats(0, 5),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(0, 500),
    min_p=st.floats(0, 0.99),
    repetition_penalty=st.floats(0.1, 10),
    min_new_tokens=st.integers(0, 20),
    max_new_tokens=st.integers(20, 500),
)


@given(params=PARAMS, before=PARAMS)
@settings(max_examples=50)
def test_what_was_chosen_is_read_back(tmp_path_factory, params, before):
    folder = tmp_path_factory.mktemp("model")
    chosen.write(folder, params)

    found = chosen.over(before, folder)
    if params.temperature == 0:  # the likeliest token needs no other choice
        assert found.temperature == 0
    else:
        assert found.model_copy(update={"seed": params.seed}) == params


def test_the_stop_ids_stay(tmp_path):
    (tmp_path / chosen.FILE).write_text(json.dumps({"eos_token_id": [1, 106], "do_sample": True}))

    chosen.write(tmp_path, GenerationParams(temperature=0.0))
    chosen.write(tmp_path, GenerationParams(temperature=0.4))
    chosen.write(tmp_path, None)
    assert json.loads((tmp_path / chosen.FILE).read_text()) == {"eos_token_id": [1, 106], "do_sample": True}


def test_without_a_choice_nothing_changes(tmp_path):
    assert chosen.over(GenerationParams(temperature=0.3), tmp_path) == GenerationParams(temperature=0.3)


@pytest.mark.parametrize("text", ["{", "[]", '{"temperature": "hot"}', '{"min_new_tokens": 999}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / chosen.FILE).write_text(text)

    with pytest.raises(RunError, match="damaged") as caught:
        chosen.over(GenerationParams(), tmp_path)
    assert "--fresh" in str(caught.value.fix)
