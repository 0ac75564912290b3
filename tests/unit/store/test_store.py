"""Laws of the store: what is written is read back, by whoever, whatever happens in between."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from store_rows import DATA, evaluation, run, sample, version

from personatune.errors import ResourceError, RunError, StoreError, UsageError
from personatune.store.records import SampleFilter
from personatune.store.store import Store

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
once_each = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@once_each
@given(
    reply=st.text(st.characters()),
    contents=st.lists(st.text(st.characters()), max_size=3),
    parameters=st.dictionaries(st.text(), json_values, max_size=3),
    seed=st.integers(-(2**63), 2**63 - 1),
    token_ids=st.lists(st.integers(0, 300_000), max_size=5),
)
def test_a_sample_is_read_back_equal(store, reply, contents, parameters, seed, token_ids):
    messages = tuple({"role": "user", "content": content} for content in contents)
    written = sample(reply=reply, messages=messages, parameters=parameters, seed=seed, token_ids=token_ids)
    (given_id,) = store.add_samples([written])
    assert store.sample(given_id) == written.model_copy(update={"id": given_id})


@once_each
@given(
    manifest=st.dictionaries(st.text(), json_values, max_size=4),
    created=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    hours=st.integers(-9, 9),
)
def test_a_run_is_read_back_equal_and_updates_what_is_given(store, manifest, created, hours):
    zone = timezone(timedelta(hours=hours))
    written = run(store.next_run_name(), manifest=manifest, created=created.replace(tzinfo=zone))
    store.add_run(written)
    assert store.run(written.name) == written
    finished = datetime(2026, 7, 1, tzinfo=UTC)
    changed = store.update_run(written.name, status="finished", finished=finished)
    expected = written.model_copy(update={"status": "finished", "finished": finished})
    assert changed == store.run(written.name) == expected


def test_an_evaluation_is_read_back_equal_and_updates_what_is_given(store):
    written = evaluation(summary={"pip@r1": {"length": [1, 30]}})
    first, second = store.add_evaluation(written), store.add_evaluation(written)
    assert (first, second) == ("e1", "e2")
    assert store.evaluation("e1") == written.model_copy(update={"id": "e1"})
    changed = store.update_evaluation("e2", report_file="runs/e2.html", summary={"n": 3})
    assert store.evaluations() == [store.evaluation("e1"), changed]
    assert changed == written.model_copy(update={"id": "e2", "report_file": "runs/e2.html", "summary": {"n": 3}})


def test_data_is_read_back_in_order_and_recorded_once(store):
    rows = [("h1", '{"a": "é"}'), ("h2", "{}"), ("h1", '{"a": "é"}'), ("h1", "same hash, other text")]
    store.add_dataset(version(rows=4), rows)
    store.add_dataset(version(rows=4, source="copy.jsonl"), rows)
    assert store.dataset_rows(DATA) == rows
    assert store.dataset(DATA).source == "train.jsonl"


def test_what_was_not_known_of_a_recorded_version_is_added(store):
    """`data vary` records a file before any training asks what its rows correct."""
    parent = "0b" + "0" * 62
    store.add_dataset(version(id=parent), [])
    store.add_samples([sample(), sample(), sample()])
    rows = [("h1", "{}"), ("h2", "{}"), ("h2", "{}"), ("h3", "{}")]
    store.add_dataset(version(rows=4), rows)
    store.add_dataset(version(rows=4, parent=parent), rows, {1: "s1", 2: "s2", 3: "s9"})
    rotated = [rows[3], *rows[:3]]
    store.add_dataset(version(rows=4, parent=DATA), rotated, {1: "s3", 2: "s1", 3: "s2"})

    found = store.query("SELECT origin FROM dataset_rows WHERE dataset = ? ORDER BY position", (DATA,))
    assert [row[0] for row in found] == ["s3", "s1", "s2", None]
    assert store.dataset(DATA).parent == parent


def test_what_was_made_from_a_version_is_never_said_to_have_made_it(store):
    child = "0c" + "0" * 62
    store.add_dataset(version(rows=1), [("h", "{}")])
    store.add_dataset(version(id=child, rows=1, parent=DATA), [("h2", "{}")])
    store.add_run(run(dataset=child))
    store.add_samples([sample(run="r1")])
    store.add_dataset(version(rows=1, parent=child), [("h", "{}")], {0: "s1"})
    store.add_dataset(version(rows=1, parent=DATA), [("h", "{}")])

    assert store.dataset(DATA).parent is None
    assert store.query("SELECT origin FROM dataset_rows WHERE dataset = ?", (DATA,))[0][0] is None


def test_versions_share_the_texts_of_their_rows(store):
    rows = [(str(at), f'{{"n": {at}}}') for at in range(100)]
    for at in range(5):
        store.add_dataset(version(id=f"v{at}", rows=100), [*rows[:99], (f"new {at}", f"{at}")])
    assert store.query("SELECT count(*) FROM conversations")[0][0] == 99 + 5


def test_a_count_that_disagrees_with_the_rows_is_refused(store):
    with pytest.raises(ValueError, match="2 rows and 1"):
        store.add_dataset(version(rows=2), [("h", "{}")])


def test_samples_get_sortable_ids_and_parents_within_their_batch(store):
    ids = store.add_samples(
        [sample(id="a"), sample(id="b", parent="a"), sample(parent="b"), sample(id="s2", parent="a")]
    )
    assert ids == ["s1", "s2", "s3", "s4"]
    assert [found.parent for found in store.samples()] == [None, "s1", "s2", "s1"]
    assert store.add_samples([sample(parent="s2")]) == ["s5"]
    assert store.sample("s5").parent == "s2"
    assert store.add_samples([]) == []


def test_samples_are_filtered(store):
    store.add_run(run())
    store.add_evaluation(evaluation())
    store.add_samples([sample(origin="chat"), *(sample(run="r1", evaluation="e1", case=f"c{at}") for at in range(11))])

    def ids(**wanted):
        return [found.id for found in store.samples(SampleFilter(**wanted))]

    assert ids() == [f"s{at}" for at in range(1, 13)]
    assert ids(origin="chat") == ["s1"]
    assert ids(run="r1", evaluation="e1", limit=2) == ["s11", "s12"]
    assert ids(case="c3", contestant="pip@r1") == ["s5"]
    assert ids(contestant="pip@base") == []


def test_a_batch_with_an_unknown_parent_is_left_out_whole(store):
    for wrong in (sample(run="r9"), sample(evaluation="e9"), sample(parent="s999")):
        with pytest.raises(StoreError, match="not recorded was named while recording samples"):
            store.add_samples([sample(), wrong])
    with pytest.raises(StoreError, match="not recorded"):
        store.add_run(run(dataset="none such"))
    assert store.samples() == []
    assert store.runs() == []


def test_what_is_not_there_is_named(store):
    with pytest.raises(RunError, match="no run 'r1'") as caught:
        store.run("r1")
    assert caught.value.fix == "train one first"
    store.add_run(run("r1"))
    store.add_run(run("r2"))
    with pytest.raises(RunError) as caught:
        store.update_run("r3", status="failed")
    assert "r2, r1" in str(caught.value)
    for look in (store.sample, store.evaluation, store.dataset, store.dataset_rows):
        with pytest.raises(UsageError, match="'x9'"):
            look("x9")


def test_what_is_no_json_is_refused_before_it_is_written():
    with pytest.raises(ValidationError, match="not JSON"):
        run(manifest={"path": Path("x")})
    assert run(manifest={"pair": (1, 2), 3: 4}).manifest == {"pair": [1, 2], "3": 4}


def test_run_names_are_never_given_twice(store, path):
    assert [store.next_run_name(), store.next_run_name()] == ["r1", "r2"]
    store.add_run(run("r2"))
    store.add_run(run("r7"))
    with pytest.raises(StoreError, match="r7 is recorded already"):
        store.add_run(run("r7"))
    with Store.open(path) as again:
        assert again.next_run_name() == "r8"
    assert store.next_run_name() == "r9"
    store.add_run(run("r3"))
    assert store.next_run_name() == "r10"
    assert [found.name for found in store.runs()] == ["r2", "r3", "r7"]


def test_threads_that_share_a_store_lose_no_sample_and_no_name(store):
    names: list[str] = []

    def add() -> None:
        for _ in range(10):
            store.add_samples([sample(), sample()])
            names.append(store.next_run_name())

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found.id for found in store.samples()] == [f"s{at}" for at in range(1, 81)]
    assert sorted(names, key=lambda name: int(name[1:])) == [f"r{at}" for at in range(1, 41)]


ADD_SAMPLES = """
import sys
from pathlib import Path
from personatune.conversation import Message
from personatune.store.records import SampleRecord
from personatune.store.store import Store
one = SampleRecord(origin="chat", contestant="p@r1", messages=(Message(role="user", content="Hi"),),
                   reply=sys.argv[2], finish_reason="stop")
for _ in range(10):
    with Store.open(Path(sys.argv[1])) as store:
        print(*store.add_samples([one, one]))
"""


def test_processes_that_make_and_fill_a_store_at_once_lose_no_sample(tmp_path, start_python):
    path = tmp_path / "new" / "store.db"
    processes = [start_python(ADD_SAMPLES, path, name) for name in ("one", "two")]
    told = [process.communicate(timeout=60) for process in processes]
    assert [errors for _, errors in told] == ["", ""]
    with Store.open(path) as store:
        found = store.samples()
    assert [record.id for record in found] == [f"s{at}" for at in range(1, 41)]
    for name, (answer, _) in zip(("one", "two"), told, strict=True):
        assert [record.id for record in found if record.reply == name] == answer.split()


DIE_WRITING = """
import os, signal, sys
from pathlib import Path
from personatune.store.store import Store
store = Store.open(Path(sys.argv[1]))
store.next_run_name()
with store.writing("dying") as connection:
    connection.execute("UPDATE counters SET last = 99")
    connection.execute("INSERT INTO datasets (id, created, rows, source) VALUES ('half', '2026-01-01', 1, 'x')")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_store_killed_while_writing_opens_clean(path, start_python):
    process = start_python(DIE_WRITING, path)
    process.communicate(timeout=60)
    assert process.returncode == -9
    with Store.open(path) as store:
        assert store.query("PRAGMA integrity_check")[0][0] == "ok"
        assert store.query("SELECT * FROM datasets") == []
        assert store.next_run_name() == "r2"


LIST_AS_NOBODY = """
import os, sys
from pathlib import Path
from personatune.errors import ResourceError
from personatune.store.records import RunRecord
from personatune.store.store import Store
RunRecord.model_rebuild()  # loads what that user may have no permission to read
if os.getuid() == 0:
    os.setuid(65534)
with Store.open(Path(sys.argv[1])) as store:
    print(store.read_only, *(run.name for run in store.runs()), len(store.recover(Path(sys.argv[2])).runs))
    try:
        store.next_run_name()
    except ResourceError as error:
        print(error)
"""


@pytest.mark.parametrize("unfinished", [False, True])
def test_runs_are_listed_in_a_folder_that_may_not_be_written(path, start_python, unfinished):
    folder = path.parent
    with Store.open(path) as store:
        store.add_run(run("r1"))
        if unfinished:
            # What a killed writer leaves: the last rows are in the write-ahead log alone.
            copy = folder.with_name("killed")
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*-shm"))
            folder = copy
            assert (folder / "store.db-wal").stat().st_size > 0
    # Another user must get through pytest's private folders.
    opened = [(above, above.stat().st_mode) for above in folder.parents if above.owner() == path.owner()]
    opened = [(above, mode) for above, mode in opened if not mode & 0o005 and above != Path("/")]
    for above, mode in opened:
        above.chmod(mode | 0o055)
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    try:
        answer, errors = start_python(LIST_AS_NOBODY, folder / "store.db", folder).communicate(timeout=60)
    finally:
        folder.chmod(0o755)
        for above, mode in opened:
            above.chmod(mode)
    assert errors == ""
    assert answer.splitlines()[0] == "True r1 0"
    assert "no permission while reserving a run name" in answer


def test_a_damaged_file_says_which_and_what_to_do(path):
    whole = path.read_bytes()
    for content in (b"not a database" * 100, whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"store\.db is damaged") as caught, Store.open(path) as store:
            store.runs()
        assert caught.value.where == str(path)
        assert f"personatune doctor {path.parent.parent} " in str(caught.value.fix)


def test_a_damaged_value_is_damage_too(store, path):
    store.add_run(run())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE runs SET manifest = '{'")
    connection.close()
    with pytest.raises(StoreError, match="damaged"):
        store.runs()


def manifest(**changes):
    return {
        "run": "r3",
        "created": "2026-07-01T10:00:00Z",
        "status": "finished",
        "data": {"version": DATA, "file": "train.jsonl", "rows": 1},
        "model": {"id": "starter"},
    } | changes


def write_runs(folder: Path) -> None:
    broken = {"r2": "{", "r4": "[]", "r5": json.dumps({"created": "yesterday"})}
    whole = {"r3": json.dumps(manifest()), "r10": json.dumps(manifest(parent="r3", status="?"))}
    for name, text in (broken | whole | {"r12": None, "notes": "{}"}).items():
        (folder / name).mkdir(parents=True)
        if text is not None:
            (folder / name / "manifest.json").write_text(text)


def test_lost_runs_are_recorded_again_from_their_manifests(store, path):
    folder = path.parent.parent / "runs"
    write_runs(folder)
    found = store.recover(folder)
    assert [record.name for record in found.runs] == ["r3", "r10"]
    assert [file.parent.name for file, _ in found.unreadable] == ["r2", "r4", "r5"]
    first, second = store.runs()
    assert (first.status, first.dataset, first.manifest) == ("finished", DATA, manifest())
    assert (second.status, second.parent) == ("interrupted", "r3")
    assert store.dataset_rows(DATA) == []
    assert store.recover(folder).runs == ()
    assert store.next_run_name() == "r13"
    store.add_dataset(version(rows=1, source="copy.jsonl"), [("h", "{}")])
    assert store.dataset_rows(DATA) == [("h", "{}")]
    assert store.dataset(DATA).source == "copy.jsonl"


def test_recovery_keeps_what_the_store_knows_and_needs_no_folder(store, tmp_path):
    store.add_run(run("r3", model="mine"))
    write_runs(tmp_path / "runs")
    store.recover(tmp_path / "runs")
    assert store.run("r3").model == "mine"
    assert store.recover(tmp_path / "none").runs == ()


def test_what_the_machine_refuses_is_said(store, path, monkeypatch):
    with pytest.raises(ResourceError, match="directory"):
        Store.open(path.parent)
    (path.parent / "file").touch()
    with pytest.raises(ResourceError, match=r"opening store\.db"):
        Store.open(path.parent / "file" / "store.db")
    store.query(f"PRAGMA max_page_count = {store.query('PRAGMA page_count')[0][0]}")
    with pytest.raises(ResourceError, match="the disk is full while recording samples"):
        store.add_samples([sample(reply="x" * 10_000)])
    monkeypatch.setattr("personatune.store.connection.BUSY_SECONDS", 0.05)
    with (
        store.writing("keeping it busy"),
        Store.open(path) as other,
        pytest.raises(ResourceError, match=r"another process kept store\.db busy"),
    ):
        other.next_run_name()


@pytest.mark.alone
def test_ten_thousand_samples_are_added_and_runs_listed_quickly(store):
    samples = [sample(reply=f"Reply {at}. " * 20, token_ids=range(60)) for at in range(10_000)]
    began = time.perf_counter()
    store.add_samples(samples)
    assert time.perf_counter() - began < 3
    for at in range(1, 101):
        store.add_run(run(f"r{at}", manifest=manifest(versions={f"package{n}": "1.0" for n in range(60)})))
    began = time.perf_counter()
    assert len(store.runs()) == 100
    assert time.perf_counter() - began < 0.3


def test_opening_a_store_that_is_up_to_date_loads_no_numpy(path, start_python: Callable[..., subprocess.Popen[str]]):
    code = (
        "import sys; from pathlib import Path; from personatune.store.store import Store;"
        "Store.open(Path(sys.argv[1])).close(); print('numpy' in sys.modules, 'sqlite_utils' in sys.modules)"
    )
    assert start_python(code, path).communicate(timeout=60) == ("False False\n", "")
