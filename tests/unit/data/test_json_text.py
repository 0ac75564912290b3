"""A value of a JSON object is replaced, and no other byte changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personatune.data.json_text import text_of, with_values

ODD = '{ "a" :1.50,\n\t"data":{"x": "\\u00e9", "n": 1e400, "x": [1,  2], "e": {}} , "z" : null }'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def test_spacing_order_numbers_and_escapes_stay():
    assert with_values(ODD, ("data",), {"e": "é"}) == ODD.replace("{}", '"\\u00e9"')
    assert with_values(ODD, (), {"a": 2, "z": [1]}) == ODD.replace("1.50", "2").replace("null", "[1]")
    assert with_values(ODD, ("data",), {"new": 1}) == ODD.replace("{}}", '{}, "new": 1}')
    assert with_values(ODD, ("data", "e"), {"k": "v"}) == ODD.replace("{}", '{"k": "v"}')


def test_of_a_key_that_comes_twice_the_last_changes():
    assert with_values(ODD, ("data",), {"x": 0}) == ODD.replace("[1,  2]", "0")
    assert text_of(ODD, ("data", "x")) == "[1,  2]"


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=5), st.dictionaries(st.text(), JSON, max_size=3), st.booleans(),
       st.sampled_from([None, 1]))  # fmt: skip
def test_the_object_says_what_is_wanted(value: dict[str, Any], more: dict[str, Any], ascii_only: bool, indent: Any):
    text = json.dumps({"data": value, "end": 1}, ensure_ascii=ascii_only, indent=indent)
    made = with_values(text, ("data",), more)
    assert json.loads(made) == {"data": {**value, **more}, "end": 1}
    assert list(json.loads(made)["data"])[: len(value)] == list(value)
    assert with_values(text, ("data",), {}) == text
    assert json.loads(text_of(made, ("data",))) == {**value, **more}


def test_a_byte_before_the_object_is_no_matter():
    assert with_values(' \n{"a":1} ', (), {"a": 2}) == ' \n{"a":2} '
    with pytest.raises(KeyError):
        with_values("{}", ("data",), {"a": 1})
