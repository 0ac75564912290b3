"""A folder of any earlier version opens: every row is there, a copy is kept, and doctor finds nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from personatune.repair.examine import examine
from personatune.store import ledger, migrations
from personatune.store.of_persona import open_store
from whole_persona import older, votes_in

VERSIONS = range(1, len(migrations.MIGRATIONS))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_folder_of_an_earlier_version_opens_with_all_it_had(persona, version):
    votes = votes_in(persona)
    ledger.file_of(persona.store_file).unlink()  # versions before had none
    older(persona.store_file, keep=version)
    with closing(sqlite3.connect(persona.store_file)) as connection:
        samples = connection.execute("SELECT id, reply FROM samples").fetchall()

    with open_store(persona) as store:
        assert [tuple(row) for row in store.query("SELECT id, reply FROM samples")] == samples
        assert [run.name for run in store.runs()] == ["r1", "r2"]
        assert store.next_run_name() == "r3"
    assert votes_in(persona) == (votes if version >= 3 else [])
    assert persona.store_file.with_name(f"store.db.before-{version + 1}").is_file()
    assert examine(persona.folder).sound
    assert examine(persona.folder).found == []
