"""A training as it is shown: bars on a terminal, few plain lines in a log, and never a reason to fail."""

from __future__ import annotations

import math
import os
import re
import sys
import threading

import pytest
from rich.console import Console

from personatune.terminal.live_area import LINE_EVERY
from personatune.terminal.training_progress import StageProgress, TrainingProgress
from personatune.training.events import Measured, Note, Planned, Probed, Stage, Stepped

PLANNED = Planned("r3", 3, 75, 0, 251.0, 2_900_000_000)


def stepped(step, steps=75, **changes):
    facts = {"loss": 2.5, "tokens_per_second": 812.3, "seconds_left": 2.0 * (steps - step), "peak_bytes": 2_912_345_678}
    return Stepped(step, steps, step / 25, **(facts | changes))


def whole_training():
    yield Stage("checking the package", 0.0)
    yield Stage("unpacking the weights", 0.55)
    yield Stage("ready", 1.0)
    yield Note("device: cpu in bf16 (é → \x1b[31m)")
    yield PLANNED
    for step in range(1, 76):
        yield stepped(step)
        if step % 25 == 0:
            yield Measured(step, step / 25, {25: 2.21, 50: 2.5, 75: 2.1}[step], best=step != 50)
    yield Stage("saving", 0.9)
    yield from (Probed(done, 12, done) for done in range(13))


def without_codes(text):
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)


class Clock:
    """Time that passes a second an event."""

    now = 0.0

    def __call__(self):
        return self.now


def told(console, training, *, seconds_an_event=1.0):
    clock = Clock()
    with TrainingProgress(console, clock) as listen:
        for event in training:
            listen(event)
            clock.now += seconds_an_event


def test_a_log_gets_every_decision_and_few_steps(console, said):
    there = console()
    told(there, whole_training())
    lines = said(there).splitlines()

    assert "device: cpu in bf16 (é → [31m)" in lines
    assert "r3: 3 epochs, 75 steps, about 4 min, about 2.9 GB of memory" in lines
    assert "epoch 1: held-out loss 2.21 (best so far)" in lines
    assert "epoch 2: held-out loss 2.50 (best: 2.21 at epoch 1)" in lines
    assert "epoch 3: held-out loss 2.10 (best so far)" in lines
    assert "step 75 of 75, epoch 3, loss 2.500, 812 tokens/s, 2.9 GB peak" in lines
    assert lines[-1] == "12 of 12 probe replies stopped by themselves"
    assert lines.count(lines[-1]) == 1
    steps = [line for line in lines if line.startswith("step ")]
    assert len(steps) == pytest.approx(77 / LINE_EVERY, abs=2)
    assert "\x1b" not in said(there)


def test_a_log_of_a_quick_training_still_has_its_last_step(console, said):
    there = console()
    told(there, (PLANNED, *(stepped(step) for step in range(1, 76))), seconds_an_event=0.01)

    assert [line.split(",")[0] for line in said(there).splitlines()[1:]] == ["step 1 of 75", "step 75 of 75"]


def test_an_interrupted_training_says_how_far_it_came(console, said):
    there = console()
    with pytest.raises(KeyboardInterrupt), TrainingProgress(there, Clock()) as listen:
        for event in (PLANNED, stepped(1), stepped(2), stepped(3)):
            listen(event)
        raise KeyboardInterrupt

    assert said(there).splitlines()[-1].startswith("step 3 of 75")


def test_a_log_line_is_one_line_however_long(console, said):
    there = console(width=20)
    told(there, [Note("word " * 60 + "\nand a second line")])

    assert len(said(there).splitlines()) == 1


def test_a_continued_run_says_from_where(console, said):
    there = console()
    told(there, [Planned("r3", 3, 75, 31, 100.0, 10**9)])

    assert said(there).rstrip().endswith("going on from step 31")


@pytest.mark.parametrize("variable", ["NO_COLOR", "CI"])
def test_plain_lines_where_bars_are_not_wanted(console, said, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    there = console(terminal=True)
    told(there, whole_training())

    assert "\x1b" not in said(there)
    assert "━" not in said(there)


@pytest.mark.parametrize("width", [1, 2, 7, 20, 40, 300])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_any_terminal_will_do(console, said, width, encoding):
    there = console(terminal=True, width=width, encoding=encoding)
    told(there, whole_training())

    assert "\x1b[31m)" not in said(there)
    assert "12of12probereplies" in "".join(without_codes(said(there)).split())


def test_a_terminal_keeps_lines_and_loses_bars(console, said):
    there = console(terminal=True)
    told(there, whole_training())
    text = said(there)

    assert "━" in text
    last_erased = text.rindex("\x1b[2K")
    assert "of 75" not in text[text.rindex("saving") :]
    assert text.index("12 of 12 probe replies") < len(text)
    assert "━" not in text[last_erased:]
    assert text.rstrip().endswith("\x1b[?25h")


def test_no_old_bar_follows_the_last_step(console, said):
    there = console(terminal=True)
    told(there, (stepped(step, 3) for step in (1, 2, 3)))

    assert "━" not in said(there)[said(there).index("step 3 of 3, ") :]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 0.0, -1.0])
@pytest.mark.parametrize("terminal", [True, False])
def test_odd_numbers_are_shown_or_left_out(console, said, odd, terminal):
    there = console(terminal=terminal)
    event = stepped(1, loss=odd, tokens_per_second=odd, seconds_left=odd)
    told(there, [event, stepped(0, 0), Stage("x", odd), Measured(1, odd, odd, best=False), Probed(0, 0, 0)])

    assert "step 1 of 75" in said(there)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_that_is_gone_does_not_end_the_training(console, monkeypatch, terminal):
    there = console(terminal=terminal)

    def gone(_text):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(there.file, "write", gone, raising=False)
    told(there, whole_training())


def test_a_stage_is_said_once_and_then_now_and_then(console, said):
    there, clock = console(), Clock()
    with StageProgress(there, clock) as on_stage:
        for what, fraction in [("joining", 0.0), ("joining", 0.05), ("unpacking", 0.5), ("ready", 1.0)]:
            on_stage(what, fraction)
            clock.now += 1
        on_stage("joining", 0.1)
        clock.now += LINE_EVERY
        on_stage("joining", 0.6)

    assert said(there).splitlines() == ["joining", "unpacking", "joining", "joining, 60 %"]


def test_two_live_areas_on_one_terminal(console, said):
    there = console(terminal=True)
    with StageProgress(there) as outer, StageProgress(there) as inner:
        outer("the outer one", 0.5)
        inner("the inner one", 0.5)

    assert "the inner one" in said(there)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_in_a_real_pseudo_terminal():
    ours, theirs = os.openpty()
    received = []

    def read():
        while b"<end>" not in b"".join(received):
            received.append(os.read(ours, 4096))

    reader = threading.Thread(target=read)
    reader.start()
    with open(theirs, "w", encoding="utf-8") as file:  # noqa: PTH123
        told(Console(file=file, width=60), whole_training())
        file.write("<end>")
        file.flush()
        reader.join(10)
    os.close(ours)

    text = without_codes(b"".join(received).decode())
    assert "╭─ r3" in text
    assert "step 75 of 75, epoch 3" in text
    assert "━" in text
