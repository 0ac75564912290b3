"""Laws of signals on planted samples, without an embedder: each fault has its flag, no good reply has one."""

from __future__ import annotations

from functools import cache

import pytest
from planted_sets import PERSONAS, SETS, Planted, conversations_of, planted

from personatune.evaluation.signals import Calibrated, calibrate
from personatune.evaluation.signals.signal import faults

ALL = [one for which in SETS for one in planted(which)]
FAULTY = [one for one in ALL if one.flags and "off_topic" not in one.flags]
GOOD = [one for one in ALL if not one.flags]


@cache
def calibrated(persona: str) -> Calibrated:
    return calibrate(conversations_of(persona), name=persona.title())


def test_the_sets_are_large_enough_to_say_something() -> None:
    first = planted("first")
    for persona in ("pip", "mo"):
        assert len([one for one in first if one.persona == persona]) >= 40
    flags = {flag for one in first for flag in one.flags}
    assert flags == {"unfinished", "empty", "turn_leak", "loop", "copying", "breaks_character", "off_topic"}
    assert {one.persona for one in planted("second")} == set(PERSONAS)


@pytest.mark.parametrize("one", FAULTY, ids=lambda one: one.name)
def test_a_planted_fault_carries_its_flag(one: Planted) -> None:
    assert one.flags <= set(faults(one.sample, calibrated(one.persona).signals))


@pytest.mark.parametrize("one", GOOD, ids=lambda one: one.name)
def test_a_good_reply_carries_none(one: Planted) -> None:
    assert faults(one.sample, calibrated(one.persona).signals) == {}


@pytest.mark.parametrize("persona", PERSONAS)
def test_no_training_reply_has_a_fault_but_being_known(persona: str) -> None:
    conversations = conversations_of(persona)
    signals = [signal for signal in calibrated(persona).signals if signal.name != "copying"]
    for conversation in conversations:
        for place, message in enumerate(conversation.messages):
            if message.role == "assistant":
                sample = GOOD[0].sample.model_copy(
                    update={"messages": conversation.messages[:place], "reply": message.content}
                )
                assert faults(sample, signals) == {}, message.content
