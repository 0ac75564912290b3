"""Whatever befell a folder is found, said, and mended where that is safe; nothing confirmed is lost on the way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from personatune import files, manifest
from personatune.data.jsonl import breaks_off
from personatune.errors import PersonaError, RunError, StoreError
from personatune.jobs.queue import JobQueue
from personatune.models import weights
from personatune.persona import Persona
from personatune.repair.examine import examine
from personatune.repair.visit import QUARANTINE
from personatune.store import ledger, migrations
from personatune.store.of_persona import open_store
from personatune.store.store import Store
from whole_persona import export_in, run_in, safetensors, vote, votes_in, whole_persona


def state_of(folder: Path) -> dict[str, str]:
    """Every file's content, but for what reading a store leaves beside it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm", ".lock"))
    }


def states(visit) -> set[str]:
    return {one.state for one in visit.found}


def said(visit) -> str:
    return "\n".join(f"{one.state}: {one.what} | {one.fix} | {one.kept}" for one in visit.found)


def test_a_whole_folder_is_sound_and_left_as_it_is(persona):
    before = state_of(persona.folder)
    for mend in (False, True):
        visit = examine(persona.folder, mend=mend)
        assert (visit.sound, visit.found) == (True, []), said(visit)
    assert state_of(persona.folder) == before


# What was damaged, and what of it only mending by hand brings back.


def torn_row(persona: Persona) -> None:
    with persona.train_file.open("ab") as file:
        file.write(b'{"messages": [{"role": "user", "content": "Was w')


def zeros_after_a_crash(persona: Persona) -> None:
    with persona.train_file.open("ab") as file:
        file.write(bytes(4096))


def cut_store(persona: Persona) -> None:
    os.truncate(persona.store_file, persona.store_file.stat().st_size * 2 // 3)


def shortened_store(persona: Persona) -> None:
    os.truncate(persona.store_file, persona.store_file.stat().st_size * 9 // 10)


def store_cut_to_a_page(persona: Persona) -> None:
    os.truncate(persona.store_file, 4096)


def empty_store(persona: Persona) -> None:
    os.truncate(persona.store_file, 0)


def no_store(persona: Persona) -> None:
    persona.store_file.unlink()


def garbled_store(persona: Persona) -> None:
    content = bytearray(persona.store_file.read_bytes())
    for at in range(5 * 4096, len(content) - 4096, 7 * 4096):
        content[at : at + 4096] = os.urandom(4096)
    persona.store_file.write_bytes(content)


def store_without_a_head(persona: Persona) -> None:
    content = bytearray(persona.store_file.read_bytes())
    content[:4096] = os.urandom(4096)
    persona.store_file.write_bytes(content)


def a_value_of_the_store_is_nonsense(persona: Persona) -> None:
    with closing(sqlite3.connect(persona.store_file)) as connection:
        connection.execute("UPDATE runs SET manifest = '{' WHERE name = 'r1'")
        connection.commit()


def lost_votes(persona: Persona) -> None:
    with closing(sqlite3.connect(persona.store_file)) as connection:
        connection.execute("DELETE FROM judging_reasons")
        connection.execute("DELETE FROM judging_votes")
        connection.commit()


def no_ledger(persona: Persona) -> None:
    ledger.file_of(persona.store_file).unlink()


def torn_ledger(persona: Persona) -> None:
    path = ledger.file_of(persona.store_file)
    os.truncate(path, path.stat().st_size - 300)


def garbled_manifest(persona: Persona) -> None:
    (persona.runs_folder / "r1" / "manifest.json").write_bytes(b'{"run": "r1", "sta')


def no_manifest(persona: Persona) -> None:
    (persona.runs_folder / "r1" / "manifest.json").unlink()


def forgotten_run(persona: Persona) -> None:
    with closing(sqlite3.connect(persona.store_file)) as connection:
        connection.execute("DELETE FROM artefacts")
        connection.execute("UPDATE samples SET run = NULL")
        connection.execute("DELETE FROM runs WHERE name = 'r1'")
        connection.commit()


def cut_off_training(persona: Persona) -> None:
    made = manifest.read(persona.runs_folder / "r2") | {"status": "training"}
    manifest.write(persona.runs_folder / "r2", made)
    with Store.open(persona.store_file) as store:
        store.update_run("r2", status="training", manifest=made)
    files.write_text(persona.runs_folder / "r2" / "live.json", "{}")


def record_behind(persona: Persona) -> None:
    with Store.open(persona.store_file) as store:
        store.update_run("r2", status="training", manifest=store.run("r2").manifest | {"status": "training"})


def temporary_files(persona: Persona) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    (persona.folder / f".train.jsonl.{gone.stdout.strip()}.tmp").write_bytes(b"half")
    staging = persona.runs_folder / "r1" / "model.new"
    staging.mkdir()
    (staging / "adapter_model.safetensors").write_bytes(b"half")


def garbled_generation_config(persona: Persona) -> None:
    (persona.runs_folder / "r1" / "model" / "generation_config.json").write_bytes(b"\0" * 40)


def garbled_recipe(persona: Persona) -> None:
    (persona.runs_folder / "r1" / "recipe.toml").write_bytes(b"epochs = [")


def no_persona_file(persona: Persona) -> None:
    (persona.folder / "persona.toml").unlink()


def an_export_half_replaced(persona: Persona) -> None:
    folder = persona.folder / "exports" / "r1-hf"
    folder.rename(folder.with_name("r1-hf.old"))


MENDED = [
    torn_row, zeros_after_a_crash, cut_store, store_cut_to_a_page, empty_store, no_store, garbled_store,
    store_without_a_head, a_value_of_the_store_is_nonsense,
    lost_votes, no_ledger, torn_ledger, garbled_manifest, no_manifest, forgotten_run,
    cut_off_training, record_behind, temporary_files, garbled_generation_config, garbled_recipe, no_persona_file,
    an_export_half_replaced,
]  # fmt: skip


@pytest.mark.parametrize("damage", MENDED, ids=lambda damage: damage.__name__)
def test_what_is_safe_is_mended_and_nothing_confirmed_is_lost(persona: Persona, damage: Callable[[Persona], None]):
    votes, rows = votes_in(persona), persona.train_file.read_bytes()
    damage(persona)
    damaged = state_of(persona.folder)

    looked = examine(persona.folder, mend=False)
    assert not looked.sound, said(looked)
    assert "mended" not in states(looked)
    assert state_of(persona.folder) == damaged  # --check touches nothing

    visit = examine(persona.folder)
    assert visit.sound, said(visit)
    assert "mended" in states(visit)
    assert votes_in(persona) == votes
    assert persona.train_file.read_bytes() == rows
    now = state_of(persona.folder)
    with open_store(persona) as store:
        assert [run.name for run in store.runs()] == ["r1", "r2"]
        assert store.next_run_name() == "r3"
    again = examine(persona.folder)
    assert again.found == [], said(again)
    # What was overwritten is kept, byte for byte.
    kept = set(state_of(persona.folder / QUARANTINE).values()) if (persona.folder / QUARANTINE).exists() else set()
    appended = ("votes.jsonl", *(() if "store" in damage.__name__ else ("store.db",)), "weights.json", "manifest.json")
    for name, content in damaged.items():
        if name in now and now[name] != content and not name.endswith(appended):
            assert content in kept, name


@pytest.mark.parametrize("damage", [shortened_store, garbled_store], ids=lambda damage: damage.__name__)
def test_rows_on_whole_pages_survive_the_others(persona, damage):
    with Store.open(persona.store_file) as store:
        before = {sample.id: sample.reply for sample in store.samples()}
    damage(persona)
    assert examine(persona.folder).sound
    with Store.open(persona.store_file) as store:
        after = {sample.id: sample.reply for sample in store.samples()}
        number = store.query("SELECT last FROM counters WHERE kind = 'sample'")[0][0]
    assert after.items() <= before.items()
    assert len(after) > len(before) // 4
    assert number >= max(int(name[1:]) for name in after)


def test_votes_come_back_with_the_whole_judging_and_go_on(persona):
    given = votes_in(persona)
    no_store(persona)
    with open_store(persona) as store:  # any command does, not only doctor
        pairs = store.query("SELECT count(*) FROM judging_pairs")[0][0]
        reasons = store.query("SELECT count(*) FROM judging_reasons")[0][0]
    assert (votes_in(persona), pairs, reasons) == (given, 20, 3)
    more = vote(persona, 2)  # the same judging, for the same judge
    assert votes_in(persona) == given + more
    no_store(persona)
    open_store(persona).close()
    assert votes_in(persona) == given + more


def test_replies_made_after_the_loss_keep_their_ids(persona):
    no_store(persona)
    with Store.open(persona.store_file) as store:
        store.recover(persona.runs_folder)
        from personatune.conversation import Message
        from personatune.store.records import SampleRecord

        asked = (Message(role="user", content="New?"),)
        fresh = SampleRecord(origin="chat", contestant="dot@r1", messages=asked, reply="New.", finish_reason="stop")
        assert store.add_samples([fresh]) == ["s1"]
    open_store(persona).close()
    with Store.open(persona.store_file) as store:
        assert store.sample("s1").reply == "New."
        texts = [
            row[0] for row in store.query("SELECT s.reply FROM judging_replies r JOIN samples s ON s.id = r.sample")
        ]
        assert "New." not in texts
        assert len(texts) >= 10


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda path: path.write_bytes(safetensors(2)), "another content"),
        (lambda path: os.truncate(path, 80), "bytes instead of"),
        (lambda path: path.unlink(), "missing"),
    ],
    ids=["swapped", "truncated", "gone"],
)
def test_other_weights_than_the_trained_ones_are_refused(persona, change, wrong):
    path = persona.runs_folder / "r1" / "model" / "adapter_model.safetensors"
    change(path)
    visit = examine(persona.folder)
    assert not visit.sound
    (one,) = visit.found
    assert one.state == "broken" and wrong in one.what and "--fresh" in one.fix
    with pytest.raises(RunError, match=r"not those that its training saved|has no weights"):
        weights.refuse_changed(persona.runs_folder / "r1", manifest.read(persona.runs_folder / "r1"))


def test_weights_swapped_with_another_run_are_known_by_their_dates(persona):
    one, two = (persona.runs_folder / name / "model" / "adapter_model.safetensors" for name in ("r1", "r2"))
    for name in ("r1", "r2"):
        weights.refuse_changed(persona.runs_folder / name, manifest.read(persona.runs_folder / name))
    os.utime(two, ns=(5, 5))
    shutil.copy2(two, one.with_name("x"))
    shutil.copy2(one, two)
    one.with_name("x").replace(one)
    for name in ("r1", "r2"):
        with pytest.raises(RunError, match="another content"):
            weights.refuse_changed(persona.runs_folder / name, manifest.read(persona.runs_folder / name))


def test_a_copied_folder_has_other_dates_and_the_same_weights(persona, tmp_path):
    shutil.copytree(persona.folder, tmp_path / "copy", copy_function=shutil.copyfile)
    made = manifest.read(tmp_path / "copy" / "runs" / "r1")
    weights.refuse_changed(tmp_path / "copy" / "runs" / "r1", made)
    assert examine(tmp_path / "copy").found == []


def test_a_run_of_an_earlier_version_gets_its_hashes(persona):
    run_in(persona, "r3", 3, hashed=False)
    visit = examine(persona.folder)
    assert visit.sound
    assert "before weights had hashes" in said(visit)
    path = persona.runs_folder / "r3" / "model" / "adapter_model.safetensors"
    path.write_bytes(safetensors(4))
    assert "another content" in said(examine(persona.folder))


def test_an_earlier_run_whose_weights_are_cut_off_is_known_by_its_own_header(persona):
    run_in(persona, "r3", 3, hashed=False)
    os.truncate(persona.runs_folder / "r3" / "model" / "adapter_model.safetensors", 90)
    assert "bytes instead of" in said(examine(persona.folder, mend=False))


def newer_store(persona: Persona) -> None:
    with closing(sqlite3.connect(persona.store_file)) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, 'm999', '')", (migrations.SET,)
        )
        connection.commit()


def missing_run_folder(persona: Persona) -> None:
    shutil.rmtree(persona.runs_folder / "r2")


def unknown_run(persona: Persona) -> None:
    files.write_text(persona.runs_folder / "r9" / "metrics.jsonl", "{}\n")


def changed_export(persona: Persona) -> None:
    files.write_text(persona.folder / "exports" / "r1-hf" / "model.bin", "Weights")


def bad_row(persona: Persona) -> None:
    rows = persona.train_file.read_text("utf-8").splitlines(keepends=True)
    persona.train_file.write_text("".join([rows[0], '{"messages": \n', *rows[1:]]), "utf-8")


def garbled_character(persona: Persona) -> None:
    (persona.folder / "persona.toml").write_bytes(b'name = "Do')


def garbled_suite(persona: Persona) -> None:
    persona.suite_file.write_bytes(b"schema: [")


def no_conversations(persona: Persona) -> None:
    persona.train_file.unlink()


@pytest.mark.parametrize(
    ("damage", "fix"),
    [
        (newer_store, "pip install --upgrade"),
        (missing_run_folder, "--fresh"),
        (unknown_run, "mv "),
        (changed_export, "personatune export"),
        (bad_row, "personatune data check"),
        (garbled_character, "close"),
        (garbled_suite, ""),
        (no_conversations, "from a copy"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_only_the_author_can_mend_is_left_with_the_way_out(persona, damage, fix):
    damage(persona)
    before = state_of(persona.folder)
    visit = examine(persona.folder)
    assert not visit.sound
    broken = [one for one in visit.found if one.state == "broken"]
    assert broken, said(visit)
    assert all(one.fix for one in broken)
    assert fix in said(visit)
    assert {name: content for name, content in state_of(persona.folder).items() if name in before} == before


def test_a_newer_store_is_refused_and_left_as_it_is(persona):
    newer_store(persona)
    before = persona.store_file.read_bytes()
    assert "newer personatune" in said(examine(persona.folder))
    assert persona.store_file.read_bytes() == before


def test_a_damaged_store_names_the_command_that_mends_it(persona):
    store_without_a_head(persona)
    with pytest.raises(StoreError) as caught:
        Store.open(persona.store_file)
    assert f"personatune doctor {persona.folder}" in str(caught.value.fix)


def test_a_torn_row_that_an_edit_wrote_is_put_back_whole(persona):
    content = persona.train_file.read_bytes()
    os.truncate(persona.train_file, len(content) - 20)
    visit = examine(persona.folder)
    assert "put back" in said(visit)
    assert persona.train_file.read_bytes() == content


ROW = '{"messages": [{"role": "user", "content": "Café?"}, {"role": "assistant", "content": "No."}]}'


@pytest.mark.parametrize(
    "written",
    [ROW.encode("cp1252"), ROW.replace("}]}", ",}]}").encode(), ROW.replace(": [", ": {").encode(), b"Was w"],
    ids=["Windows-1252", "a comma too much", "another bracket", "no row at all"],
)
def test_a_last_row_with_a_mistake_is_the_author_s_to_mend(persona, written: bytes):
    content = persona.train_file.read_bytes() + written
    persona.train_file.write_bytes(content)
    visit = examine(persona.folder)
    assert "1 row of train.jsonl cannot be read" in said(visit)
    assert persona.train_file.read_bytes() == content


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_is_refused_whole(persona, encoding: str):
    content = persona.train_file.read_text(encoding="utf-8").encode(encoding)
    persona.train_file.write_bytes(content)
    assert not examine(persona.folder).sound
    assert persona.train_file.read_bytes() == content


@pytest.mark.parametrize("cut", range(1, len(ROW.encode())))
def test_a_row_that_breaks_off_anywhere_is_taken_out(cut: int):
    assert breaks_off(ROW.encode()[:cut])
    assert breaks_off(ROW.encode()[:cut] + bytes(512))


def test_zeros_after_a_whole_row_leave_the_row(persona):
    content = persona.train_file.read_bytes()
    persona.train_file.write_bytes(content.removesuffix(b"\n") + bytes(512))
    visit = examine(persona.folder)
    assert "zeros" in said(visit)
    assert visit.sound
    assert persona.train_file.read_bytes() == content


def test_a_folder_in_which_nothing_can_be_kept_is_not_said_to_be_mended(persona):
    shutil.rmtree(persona.store_file.parent)
    persona.store_file.parent.write_text("a file")
    assert "nothing was mended" in said(examine(persona.folder))
    assert not examine(persona.folder).sound


def test_a_job_whose_process_is_gone_is_not_running(persona):
    queue = JobQueue()
    job = queue.add(persona.folder, ["train", "dot"])
    queue.change(job.id, state="running", pid=2**22 - 3, pid_started=1.0)
    assert not examine(persona.folder, mend=False).sound
    assert examine(persona.folder).sound
    assert queue.get(job.id).state == "interrupted"


def test_a_run_at_work_is_left_alone(persona):
    cut_off_training(persona)
    with files.locked(persona.runs_folder / "r2" / ".lock", RuntimeError()):
        visit = examine(persona.folder)
        assert "being trained now" in said(visit)
    assert manifest.read(persona.runs_folder / "r2")["status"] == "training"
    assert (persona.runs_folder / "r2" / "live.json").exists()


def test_a_log_whose_store_is_gone_is_not_dropped(persona):
    log = persona.store_file.with_name("store.db-wal")
    persona.store_file.unlink()
    log.write_bytes(b"written last")
    Store.open(persona.store_file).close()
    assert log.with_name("store.db-wal.left-1").read_bytes() == b"written last"


def test_what_is_no_persona_is_said(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(PersonaError):
            examine(folder)


def test_an_export_elsewhere_that_went_away_is_only_noted(persona):
    shutil.rmtree(persona.folder / "exports")
    visit = examine(persona.folder)
    assert visit.sound
    assert "not where it was written" in said(visit)
    export_in(persona)


def test_everything_at_once(persona):
    votes = votes_in(persona)
    for damage in (garbled_store, torn_ledger, garbled_manifest, torn_row, temporary_files, garbled_recipe):
        damage(persona)
    visit = examine(persona.folder)
    assert visit.sound, said(visit)
    # The ledger lost its end and the store its pages: only what both lost may be gone.
    assert set(votes_in(persona)) <= set(votes)
    assert len(votes_in(persona)) >= len(votes) - 1
    assert json.loads(json.dumps(visit.as_dict()))["sound"] is True


@pytest.mark.parametrize(
    "line",
    ['{"votes": [{}]}', '{"votes": [{"id": 1, "number": "x"}], "samples": [{}]}', '{"closed": [1, [], ["a"]]}',
     '{"judgings": [{"id": null}], "pairs": [{"judging": []}]}', '{"replies": [{"sample": {}}], "reasons": [{}]}',
     '{"votes": [{"id": "v", "number": 1e999}]}', "[" * 100_000],
)  # fmt: skip
def test_damaged_lines_of_the_votes_are_passed_over(tmp_path, line):
    persona = whole_persona(tmp_path / "dot", votes=3)
    kept = votes_in(persona)
    kept_beside = persona.folder / ".personatune" / "votes.jsonl"
    kept_beside.write_text(line + "\n" + kept_beside.read_text("utf-8"), encoding="utf-8")
    persona.store_file.unlink()

    examine(persona.folder)
    assert votes_in(persona) == kept
