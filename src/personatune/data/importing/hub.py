"""Data sets of Hugging Face, read row by row over the network because the user named one: `hf:owner/name`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from personatune import settings
from personatune.data.importing.shapes import add_row, check_columns
from personatune.data.importing.understood import Gathering, Understood, Wish
from personatune.errors import DataError, ResourceError, UsageError

PREFIX = "hf:"
MOST_ROWS = 50_000
"""So many rows are read when no limit is given."""

_REFERENCE = re.compile(
    r"hf:(?P<id>[\w.-]{1,96}/[\w.-]{1,96})(?:@(?P<config>[\w.-]{1,96}))?(?::(?P<split>[\w.-]{1,96}))?", re.ASCII
)


@dataclass(frozen=True)
class HubReference:
    """Which data set is meant."""

    id: str
    """As `owner/name`."""
    config: str | None
    """Its configuration; None for the only one."""
    split: str
    """Its part, as `train`."""


def parse(text: str) -> HubReference:
    """What `hf:owner/name@configuration:split` means. Raises `UsageError`."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} is no data set of Hugging Face",
            fix="write hf:OWNER/NAME, with @CONFIGURATION or :SPLIT after it where it has several",
        )
    return HubReference(found["id"], found["config"], found["split"] or "train")


def read(text: str, wish: Wish) -> Understood:
    """The rows of a data set, fetched as they are read. Raises `UsageError` where no connection may be opened."""
    reference = parse(text)
    if settings.is_offline():
        raise UsageError(
            f"{text} lies on Hugging Face, and no connection may be opened (--offline, or HF_HUB_OFFLINE is set)",
            fix="give the command without --offline, or import a file that you have",
        )
    try:
        import datasets
    except ImportError as error:
        raise ResourceError(
            "data sets of Hugging Face take the Python package 'datasets'",
            fix="python -m pip install 'personatune[import]'",
        ) from error
    try:
        rows = datasets.load_dataset(reference.id, reference.config, split=reference.split, streaming=True)
        return read_rows(rows, text, wish)
    except (DataError, UsageError):
        raise
    except Exception as error:  # the library, its network and each file format have errors of their own
        raise DataError(
            f"{text} cannot be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
            where=f"https://huggingface.co/datasets/{reference.id}",
            fix="look at its page: the name, the configuration (hf:OWNER/NAME@CONFIGURATION), the split (:SPLIT), "
            "whether it asks for an account (hf auth login)",
        ) from error


def read_rows(rows: Iterable[Mapping[str, Any]], name: str, wish: Wish) -> Understood:
    """The rows of an opened data set."""
    into = Gathering(name, wish)
    number = 0
    for number, row in enumerate(islice(rows, MOST_ROWS + 1), start=1):
        if number == 1:
            check_columns(list(row), wish, name)
        if into.is_full:
            break
        if number > MOST_ROWS:
            into.remarks.append(f"only the first {MOST_ROWS:,} rows were read")
            break
        add_row(row, number, into)
    if number == 0:
        raise DataError(f"{name} holds no rows", where=name, fix="name another split, as in hf:OWNER/NAME:test")
    return into.understood("hub")
