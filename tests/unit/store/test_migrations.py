"""Laws of the schema: an older database is copied and keeps its rows, a newer one is left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from store_rows import run, sample

from personatune.errors import StoreError
from personatune.store import migrations
from personatune.store.store import Store


def m002_votes(db):
    db.conn.execute("CREATE TABLE votes (id INTEGER PRIMARY KEY, sample TEXT REFERENCES samples(id))")
    db["runs"].transform(rename={"model": "model_id"})
    db["runs"].transform(rename={"model_id": "model"})


def m003_broken(db):
    db.conn.execute("CREATE TABLE half (id INTEGER PRIMARY KEY)")
    db.conn.execute("DELETE FROM runs")
    raise RuntimeError("the migration is broken")


def m003_loses_parents(db):
    db.conn.execute("DELETE FROM runs")


@pytest.fixture
def filled(path):
    with Store.open(path) as store:
        store.add_run(run())
        store.add_samples([sample(run="r1")])
    return path


@pytest.fixture
def later(monkeypatch):
    def set_migrations(*added):
        monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, *added))

    return set_migrations


def test_an_older_database_is_copied_and_keeps_its_rows(filled, later):
    with Store.open(filled) as store:
        before = (store.runs(), store.samples())
    later(m002_votes)
    with Store.open(filled) as store:
        assert (store.runs(), store.samples()) == before
        assert store.query("SELECT * FROM votes") == []
        assert store.query("PRAGMA foreign_keys")[0][0] == 1
    copy = filled.with_name(f"store.db.before-{len(migrations.MIGRATIONS)}")
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT name FROM runs").fetchall() == [("r1",)]
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'votes'").fetchall() == []


def test_a_new_database_and_one_up_to_date_are_not_copied(tmp_path):
    for _ in range(2):
        Store.open(tmp_path / "store.db").close()
    assert list(tmp_path.glob("*before*")) == []


@pytest.mark.parametrize(("broken", "error"), [(m003_broken, RuntimeError), (m003_loses_parents, StoreError)])
def test_a_migration_that_fails_changes_nothing(filled, later, monkeypatch, broken, error):
    with monkeypatch.context() as during:
        during.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, m002_votes, broken))
        with pytest.raises(error):
            Store.open(filled)
    with Store.open(filled) as store:
        assert [found.name for found in store.runs()] == ["r1"]
        assert store.query("SELECT name FROM sqlite_master WHERE name IN ('votes', 'half')") == []
    later(m002_votes)
    Store.open(filled).close()


def test_a_database_of_a_newer_personatune_is_refused_and_left_as_it_is(filled, later, monkeypatch):
    with monkeypatch.context() as during:
        during.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, m002_votes))
        Store.open(filled).close()
    before = filled.read_bytes()
    with pytest.raises(StoreError, match="newer personatune") as caught:
        Store.open(filled)
    assert "upgrade" in str(caught.value.fix)
    assert filled.read_bytes() == before


def test_a_database_of_another_program_is_refused(tmp_path):
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreError, match="another program"):
        Store.open(path)


def test_the_database_waits_for_others_and_minds_parents(store):
    assert store.query("PRAGMA journal_mode")[0][0] == "wal"
    assert store.query("PRAGMA foreign_keys")[0][0] == 1
    assert store.query("PRAGMA busy_timeout")[0][0] == 30_000
