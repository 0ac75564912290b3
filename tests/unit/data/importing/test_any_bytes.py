"""Whatever bytes a file holds, reading it ends: in rows that can be trained on, or in one error with a way out."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from import_files import CASES

from personatune.data.doctor import unsound
from personatune.data.importing import tables
from personatune.data.importing.content import Content, decoded
from personatune.data.importing.reading import FORMATS, understand
from personatune.data.importing.understood import Wish
from personatune.data.load import to_jsonl
from personatune.errors import DataError, PersonatuneError

NAMES = [None, *(known.name for known in FORMATS)]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["conversations", "messages", "from", "role", "value", "content", "instruction", "input", "output", "history",
     "system", "mes", "is_user", "name", "swipes", "extra", "user_name", "character_name", "spec", "data", "first_mes",
     "mes_example", "description", "alternate_greetings", "character_book", "char_name", "context", "greeting"]
)  # fmt: skip
ODD = st.recursive(
    VALUES | st.sampled_from(["human", "gpt", "user", "assistant", "chara_card_v2", True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


def is_handled(raw: bytes, wish: Wish, name: str | None) -> None:
    try:
        found = understand(Content("file", raw), wish, name)
    except PersonatuneError as error:
        assert error.what and error.fix
        return
    assert unsound(found.conversations) == []
    to_jsonl(found.conversations).encode()
    for text in found.remarks:
        assert text


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(NAMES))
def test_bytes(raw: bytes, name: str | None):
    is_handled(raw, Wish(), name)


@settings(deadline=None)
@given(st.text(max_size=200), st.sampled_from(NAMES), st.sampled_from(["utf-8", "utf-16", "utf-8-sig"]))
def test_text(text: str, name: str | None, encoding: str):
    is_handled(text.encode(encoding, "surrogatepass"), Wish(character="a", user="b"), name)


@settings(deadline=None)
@given(st.lists(st.dictionaries(KEYS, ODD, max_size=5), min_size=1, max_size=3), st.sampled_from(NAMES))
def test_json_of_the_right_names_and_the_wrong_kinds(values: list[Any], name: str | None):
    is_handled(b"\n".join(json.dumps(value).encode() for value in values), Wish(opening="Well?"), name)
    is_handled(json.dumps(values, indent=1).encode(), Wish(user="role", character="content"), name)


@settings(deadline=None)
@given(st.sampled_from(list(CASES.values())), st.data())
def test_a_good_file_with_a_stretch_of_rubbish(case: Any, data: st.DataObject):
    at = data.draw(st.integers(0, len(case.raw)))
    end = data.draw(st.integers(at, min(at + 20, len(case.raw))))
    is_handled(case.raw[:at] + data.draw(st.binary(max_size=8)) + case.raw[end:], case.wish, None)


@settings(deadline=None)
@given(st.text(st.characters(blacklist_characters="\0\r", blacklist_categories=["Cs"])))
def test_text_is_read_whatever_it_was_saved_as(text: str):
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert decoded(text.encode(encoding), "file").text == text.removeprefix("\ufeff")


def test_lines_of_two_encodings_are_both_read():
    found = decoded("über\n".encode() + "müde\n".encode("cp1252"), "file")
    assert found.text == "über\nmüde\n" and "line 2" in (found.remark or "")


def test_parquet_of_odd_columns():
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def file(**columns: Any) -> Content:
        sink = io.BytesIO()
        parquet.write_table(pyarrow.table(columns), sink)
        return Content("odo.parquet", sink.getvalue())

    talk = [[{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], [], None]
    assert len(tables.read_parquet(file(conversations=talk), Wish()).conversations) == 1
    found = tables.read_parquet(
        file(prompt=["a", None, "c", "d"], response=pyarrow.array(["b", "x", "", "e"]).dictionary_encode()), Wish()
    )
    assert ([row.replies for row in found.conversations], [place.line for place in found.skipped]) == (
        [("b",), ("e",)],
        [2, 3],
    )
    numbers = tables.read_parquet(file(prompt=[1, 2], response=[b"a", b"\xff"]), Wish())
    assert numbers.conversations == () and len(numbers.skipped) == 2
    with pytest.raises(PersonatuneError, match="which columns"):
        tables.read_parquet(file(x=[1]), Wish())
    once = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 60), ["a" * (1 << 20)])
    said_often = file(prompt=once, response=["b"] * 60)  # kept once and said by every row
    assert len(said_often.raw) < 100_000
    assert len(tables.read_parquet(said_often, Wish()).skipped) == 60
    whole = file(prompt=["a"] * 50, response=["b"] * 50).raw
    for cut in (5, 60, len(whole) // 2, len(whole) - 3):
        with pytest.raises(DataError, match="damaged"):
            tables.read_parquet(Content("odo.parquet", whole[:cut]), Wish())
