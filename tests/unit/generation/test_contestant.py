"""A contestant asks its engine with its own stage direction, and with nothing else of its own."""

from __future__ import annotations

from personatune.conversation import Message
from personatune.generation.contestant import Contestant
from personatune.generation.params import GenerationParams
from personatune.generation.scripted import ScriptedEngine

USER = Message(role="user", content="Who are you?")
DIRECTION = Message(role="system", content="It is night.")
ENGINE = ScriptedEngine(lambda request: "I am.")


def test_a_system_prompt_opens_every_conversation():
    who = Contestant("pip@prompted", ENGINE, system_prompt="You are Pip.")

    request = who.request((USER,), GenerationParams(seed=3))

    assert request.messages == (Message(role="system", content="You are Pip."), USER)
    assert request.params == GenerationParams(seed=3)


def test_a_stage_direction_of_the_conversation_is_not_overridden():
    who = Contestant("pip@prompted", ENGINE, system_prompt="You are Pip.")

    assert who.request((DIRECTION, USER), who.params).messages == (DIRECTION, USER)


def test_without_a_system_prompt_the_conversation_is_asked_as_it_is():
    who = Contestant("pip@r1", ENGINE, run="r1")

    assert who.request((USER,), who.params).messages == (USER,)
