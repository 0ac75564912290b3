"""Each file is known for what it is, and says what its author wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from import_files import CASES, Case

from personatune.conversation import Conversation
from personatune.data.doctor import unsound
from personatune.data.importing.content import Content, content_of_file
from personatune.data.importing.reading import FORMATS, understand
from personatune.data.importing.understood import Wish
from personatune.errors import DataError, PersonatuneError, UsageError


def said(row: Conversation) -> tuple[str, ...]:
    return tuple(f"{'#' if m.role == 'system' else ''}{m.content}" for m in row.messages)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_file_becomes_its_conversations(case: Case):
    found = understand(Content("file", case.raw), case.wish)

    assert found.format == case.format
    assert [said(row) for row in found.conversations] == case.rows
    assert [place.line for place in found.skipped] == case.skipped
    assert all(place.why for place in found.skipped)
    assert case.remark in " ".join(found.remarks)
    assert unsound(found.conversations) == []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_line_ends_change_nothing(case: Case):
    if b"\r" in case.raw or b"\0" in case.raw:
        return
    there = understand(Content("file", case.raw), case.wish)
    found = understand(Content("file", case.raw.replace(b"\n", b"\r\n")), case.wish)

    assert [said(row) for row in found.conversations] == [said(row) for row in there.conversations]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_limit_and_pieces_hold(case: Case):
    wish = Wish(**{**vars(case.wish), "limit": 1, "exchanges": 1})
    found = understand(Content("file", case.raw), wish)

    assert len(found.conversations) == min(1, len(case.rows))
    assert ("--limit" in " ".join(found.remarks)) == bool(case.rows)
    assert all(len(row.replies) == 1 for row in found.conversations)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("name", [known.name for known in FORMATS])
def test_a_wrong_format_is_an_error_or_skips_but_no_crash(case: Case, name: str):
    try:
        understand(Content("file", case.raw), case.wish, name)
    except PersonatuneError as error:
        assert error.fix


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"just a letter\nto nobody\n", "no kind that is known"),
        (b"A long report.\n" * 100 + b"You: see\nOdo: see too\n", "no kind that is known"),
        (b'{"a": [1, 2', "file:1"),
        (b'{\n "spec": "chara_card_v2",\n "data": {\n  "name": "a" "b"\n }\n}\n', "file:4"),
        (b"[1, 2, 3]\n", "not an object"),
        (b'{"spec": "chara_card_v2", "data": null}\n', "chara_card_v2"),
        (b"PK\x03\x04rest", "zip"),
        (b"PK\x03\x04 card.json and assets", "unzip -p file card.json"),
        (b"\x1f\x8brest", "gzip"),
        (b"PAR1 nothing", "Parquet"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"You: a\0\nOdo: b\n", "NUL"),
        (b"\x81\x8d\x8f: a\n", "Windows-1252"),
        (b"\xff\xfea\x00b", "UTF-16"),
        (b'prompt,response\n"never closed,a\nb,c\n', "line 2"),
        (b"prompt,prompt,response\na,b,c\n", "two columns"),
        (b"name: [\ngreeting: a\ncontext: b\n", "YAML"),
        (b"{" * 100_000, "not JSON"),
        (b"[" * 100_000, "nested"),
        (b'{"name": "a", "first_mes": ' + b"[" * 100_000, "nested"),
        (b'{"spec": "chara_card_v2", "data": {"name": "x", "n": ' + b"9" * 5000 + b"}}", "digits"),
        (b"name: a\ngreeting: b\ncontext: " + b"[" * 3000, "nested"),
        (b"a: &a [x, x]\n" + b"".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n".encode() for i in range(8)
        ) + b"name: n\ngreeting: g\n", "values"),
        (b"name: &a [*a]\ngreeting: b\n", "nested"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_clear_error(raw: bytes, named: str):
    with pytest.raises(DataError) as caught:
        understand(Content("file", raw), Wish())

    assert named in str(caught.value)
    assert caught.value.fix and (caught.value.where or "").startswith("file")


def test_a_folder_names_the_file_in_it(tmp_path: Path):
    (tmp_path / "set" / "data").mkdir(parents=True)
    (tmp_path / "set" / "dataset_info.json").write_text("{}", "utf-8")
    with pytest.raises(DataError) as caught:
        content_of_file(tmp_path / "set")
    assert caught.value.fix == "name one file in it"
    (tmp_path / "set" / "data.arrow").write_bytes(b"ARROW1")
    with pytest.raises(DataError) as caught:
        content_of_file(tmp_path / "set")
    assert "to_parquet" in str(caught.value.fix)
    (tmp_path / "set" / "data" / "train-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError) as caught:
        content_of_file(tmp_path / "set")
    assert str(tmp_path / "set" / "data" / "train-0.parquet") in str(caught.value.fix)


def test_unclear_columns_are_asked_for_by_name():
    with pytest.raises(UsageError) as caught:
        understand(Content("file", b"zeit;wer;was\n1;a;b\n"), Wish())
    assert all(name in str(caught.value) for name in ("'zeit'", "'wer'", "'was'", "--user", "--character"))
    with pytest.raises(UsageError, match="no column 'wo'"):
        understand(Content("file", b"zeit;wer;was\n1;a;b\n"), Wish(user="wo", character="was"))


def test_unclear_speakers_are_listed():
    script = b"Ida: a\nOdo: b\nIda: c\nOdo: d\n"
    with pytest.raises(UsageError) as caught:
        understand(Content("file", script), Wish())
    assert "'Ida'" in str(caught.value) and "'Odo'" in str(caught.value) and "--character" in str(caught.value)
    with pytest.raises(UsageError, match="nobody in file is called 'Zed'"):
        understand(Content("file", script), Wish(character="Zed"))


def test_a_speech_may_hold_a_colon():
    found = understand(Content("file", b"You: a\nOdo: Note\nbring: a rope\nYou: b\nOdo: c\n"), Wish())
    assert [said(row) for row in found.conversations] == [("a", "Note\nbring: a rope", "b", "c")]
