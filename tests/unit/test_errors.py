"""Every error says what happened, where, and the way out."""

from __future__ import annotations

import errno

import pytest

from personatune import errors
from personatune.errors import PersonatuneError, UsageError, from_os_error

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PersonatuneError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_prints_what_where_and_fix_and_nothing_else(kind):
    assert str(kind("It broke.")) == "It broke."
    assert str(kind("It broke.", where="a.toml:3", fix="mend it")) == "It broke.\n  at:  a.toml:3\n  fix: mend it"
    assert kind.exit_code == (2 if kind is UsageError else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_at_the_top_of_the_module_names_every_kind(kind):
    assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "no permission"),
        (errno.ENOENT, "missing"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_system_says_becomes_words_with_the_file(number, words):
    import os

    error = from_os_error(OSError(number, os.strerror(number), "/some/file"), "saving")

    assert words in error.what
    assert "while saving" in error.what
    assert error.where == "/some/file"
