"""The doctor's report in a terminal: complete, within the width, without codes where none are wanted."""

from __future__ import annotations

import io

import pytest
from data_rows import clean_rows, talk
from rich.console import Console

from personatune.data.doctor import examine
from personatune.terminal.data_report import histogram, print_examination


def printed(examination, *, encoding="utf-8", **options):
    buffer = io.BytesIO()
    file = io.TextIOWrapper(buffer, encoding=encoding, newline="\n")
    print_examination(examination, Console(file=file, **options))
    file.flush()
    return buffer.getvalue().decode(encoding)


def sick():
    return examine([*clean_rows(30), talk("Who?", "[INST] me\x1b[31m", line=31), talk("Who?", "", line=32)])


def test_everything_found_is_printed_with_level_places_and_remedy():
    examination = sick()
    text = " ".join(printed(examination, width=100).split())

    for finding in examination.findings:
        assert f"{finding.code}: {' '.join(finding.message.split())}" in text
        assert f"fix: {finding.remedy}" in text
    assert "2 errors" in text
    assert "at train.jsonl:32" in text
    assert text.index("2 errors") < text.index("warning") < text.index("notes")


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_the_report_keeps_to_the_width_and_a_file_gets_no_codes(width):
    text = printed(sick(), width=width)

    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "█" in text


def test_no_color_is_kept_even_where_a_terminal_is_forced(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    coloured = printed(sick(), width=80, force_terminal=True)

    assert "\x1b[31m" not in coloured
    assert "\x1b[33m" not in coloured


def test_an_encoding_without_blocks_gets_plain_characters():
    text = printed(sick(), width=80, encoding="ascii")

    assert "#" in text
    assert "█" not in text


def test_a_long_path_is_not_broken():
    path = "a/" * 60 + "train.jsonl"
    row = talk("Who?", "")
    row = row.model_copy(update={"source": talk("a", line=3).source.model_copy(update={"path": path})})  # type: ignore[union-attr]

    assert f"{path}:3" in printed(examine([row]), width=60)


def test_a_data_set_without_findings_says_so_and_an_empty_one_prints():
    assert "nothing to complain about" in printed(examine(clean_rows()), width=80)
    assert "0 rows" in printed(examine([]), width=80)


@pytest.mark.parametrize("width", [10, 20, 80, 300])
@pytest.mark.parametrize("lengths", [[1], [5] * 20, [1, 500], list(range(1, 60)), [3000, 1]])
def test_the_histogram_draws_any_lengths_in_any_width(width, lengths):
    stats = examine([talk("Who?", "word " * length) for length in lengths]).reply_words
    lines = histogram(stats, width).split("\n")

    assert max(map(len, lines)) <= max(width, 20)
    assert len(stats.bins) <= 16
    assert sum(bin_.count for bin_ in stats.bins) == len(lengths)
    assert "█" in "".join(lines)
