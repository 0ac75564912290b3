"""Data sets of Hugging Face: only what is named, only with a connection, and no more than is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from personatune.data.importing import hub
from personatune.data.importing.understood import Wish
from personatune.errors import DataError, UsageError


def endless() -> Iterator[dict[str, object]]:
    for number in count():
        yield {"question": f"q{number}", "answer": f"a{number}", "score": number}


def test_a_reference_names_all_its_parts():
    assert hub.parse("hf:a/b") == hub.HubReference("a/b", None, "train")
    assert hub.parse("hf:a/b@x:test") == hub.HubReference("a/b", "x", "test")
    for wrong in ("hf:", "hf:b", "hf:a/b/c", "hf:../b/c", "hf:a/b@", "hf:a/b:x y", "hf:http://a/b"):
        with pytest.raises(UsageError, match="no data set"):
            hub.parse(wrong)


def test_rows_are_read_as_far_as_wanted():
    found = hub.read_rows(endless(), "hf:a/b", Wish(limit=3))
    assert [row.replies for row in found.conversations] == [("a0",), ("a1",), ("a2",)]
    assert str(found.conversations[2].source) == "hf:a/b:3"


def test_unclear_columns_and_no_rows_are_said():
    with pytest.raises(UsageError, match="which columns"):
        hub.read_rows([{"x": "a", "y": "b"}], "hf:a/b", Wish())
    with pytest.raises(DataError, match="no rows"):
        hub.read_rows([], "hf:a/b", Wish())


def test_no_connection_is_opened_offline(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match="offline"):
        hub.read("hf:a/b", Wish())
