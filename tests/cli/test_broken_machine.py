"""What the machine refuses: disk, permission, memory, a missing package, a pipe that closes. Nothing is lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import COMMAND, QUICK, Run, assert_clear, contents, in_subprocess

from personatune import files

# The superuser may read and write everything; in a user namespace of its own even it is an ordinary user.
AS_ORDINARY_USER: Sequence[str] = ("unshare", "--user") if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
IN_OWN_MOUNTS: Sequence[str] = ("unshare", "--map-root-user", "--mount")


def works(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except OSError:
        return False


needs_permissions = pytest.mark.skipif(
    bool(AS_ORDINARY_USER) and not works(*AS_ORDINARY_USER, "true"),
    reason="the superuser ignores permissions, and user namespaces are not allowed here",
)
needs_mounts = pytest.mark.skipif(
    not works(*IN_OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", "/mnt"), reason="a small disk cannot be mounted here"
)


@needs_permissions
def test_a_file_that_may_not_be_read(dot: Path) -> None:
    (dot / "train.jsonl").chmod(0)
    try:
        for command in (["train", "dot"], ["new", "dash", "--from", "dot/train.jsonl"]):
            outcome = in_subprocess(*command, cwd=dot.parent, before=AS_ORDINARY_USER)
            assert_clear(outcome, "train.jsonl", "permission")
    finally:
        (dot / "train.jsonl").chmod(0o644)
    assert sorted(path.name for path in dot.parent.iterdir()) == ["dot"]


@needs_permissions
def test_a_folder_that_may_not_be_written(trained: Path) -> None:
    place = trained.parent
    locked = [place, trained, *(path for path in trained.rglob("*") if path.is_dir())]
    before = contents(place)
    for folder in locked:
        folder.chmod(0o555)
    try:
        assert_clear(in_subprocess("new", "dash", cwd=place, before=AS_ORDINARY_USER), "permission", "dash")
        for command in (["runs", "dot"], ["runs", "show", "dot@r1"], ["data", "check", "dot"]):  # only look
            outcome = in_subprocess(*command, cwd=place, before=AS_ORDINARY_USER)
            assert (outcome.code, outcome.err) == (0, "")
    finally:
        for folder in locked:
            folder.chmod(0o755)
    assert contents(place) == before


@needs_permissions
def test_training_in_a_folder_that_may_not_be_written(dot: Path, tiny_gemma: Path) -> None:
    before = contents(dot)
    dot.chmod(0o555)
    try:
        argv = ["train", "dot", "--model", str(tiny_gemma), *QUICK]
        outcome = in_subprocess(*argv, cwd=dot.parent, before=AS_ORDINARY_USER)
    finally:
        dot.chmod(0o755)
    assert_clear(outcome, "permission", "dot")
    assert contents(dot) == before


FULL_DISK = """\
mount -t tmpfs -o size=900k tmpfs . || exit 99
cd . && cd "$PWD" && cp -r ../dot dot && before=$(sha256sum dot/*.*)
{command} train {flags} && exit 98    # fills 900k: adapters, checkpoints, the record
echo "--- $?" >&2
test "$before" = "$(sha256sum dot/*.*)" || exit 97
mount -o remount,size=20m .
{command} train {flags} || exit 96
"""


@needs_mounts
def test_a_disk_that_fills_up_while_training_and_the_same_command_afterwards(dot: Path, tiny_gemma: Path) -> None:
    disk = dot.parent / "disk"
    disk.mkdir()
    flags = " ".join(["dot", "--model", str(tiny_gemma), *QUICK, "--lora-rank", "32"]).replace("--lora-rank 2 ", "")
    script = FULL_DISK.format(command=" ".join(COMMAND), flags=flags)
    done = subprocess.run(
        [*IN_OWN_MOUNTS, "sh", "-c", script], cwd=disk, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    failed, _, after = done.stderr.partition("--- 1\n")
    assert "error: the disk is full" in failed
    assert "fix: free some space" in failed
    assert "Traceback" not in done.stderr
    assert "going on with r1" in after


@needs_mounts
def test_a_full_disk_gets_no_half_persona(place: Path) -> None:
    script = 'mount -t tmpfs -o size=40k tmpfs . && cd . && cd "$PWD" && ' + " ".join(COMMAND) + " new pip; ls -A"
    done = subprocess.run(
        [*IN_OWN_MOUNTS, "sh", "-c", script], cwd=place, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == ""
    assert done.stderr.startswith("error: the disk is full")
    assert "fix: " in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("command", [["new", "pip"], ["new", "dash", "--from", "dot/train.jsonl"], ["train", "pip"]])
def test_what_the_disk_refuses(
    command: list[str], number: int, dot: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _text: str) -> None:
        raise OSError(number, os.strerror(number), str(path))

    before = contents(dot.parent)
    monkeypatch.setattr(files, "write_text", refuse)
    assert_clear(run(*command), "permission" if number == errno.EROFS else "while")
    assert contents(dot.parent) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("argv", [["--help"], ["train", "--help"], ["runs", "dot"]])
def test_output_that_cannot_be_written(argv: list[str], trained: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *argv], cwd=trained.parent, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the disk is full")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("argv", ["--help", "train --help", "runs dot", "runs show dot@r1 --json", "trian"])
@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_reader_that_goes_away(argv: str, reader: str, trained: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{' '.join(COMMAND)} {argv} 2>&1 | {reader}"],
        cwd=trained.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert "Traceback" not in done.stdout
    assert bool(done.stdout) == (reader != "true")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-16"])
@pytest.mark.parametrize("argv", [["new", "zoë-日本"], ["runs", "dot"], ["train", "nobödy"], ["help", "chat"]])
def test_a_terminal_that_cannot_show_every_character(argv: list[str], encoding: str, trained: Path) -> None:
    done = subprocess.run(
        [*COMMAND, *argv],
        cwd=trained.parent,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (1 if argv[0] == "train" else 0)
    assert "Traceback" not in done.stderr.decode(encoding)


def test_a_machine_without_memory(dot: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from personatune.training import run as training

    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(training, "load", refuse)
    assert_clear(run("train", "dot"), "memory", "--batch-size 1")


def test_a_machine_without_torch(dot: Path, tiny_gemma: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    before = contents(dot)
    assert_clear(run("train", "dot", "--model", tiny_gemma), "'torch'", "personatune[train]")
    assert contents(dot) == before
