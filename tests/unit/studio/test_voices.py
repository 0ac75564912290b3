"""At most two contestants stay, each is used by one thread at a time, and none answers as it was before a change."""

from __future__ import annotations

import threading

import pytest
from studio_runs import add_run

from personatune import files
from personatune.errors import ModelError
from personatune.generation.contestant import Contestant
from personatune.generation.scripted import ScriptedEngine
from personatune.persona import Persona
from personatune.studio.voices import Tell, Voices


class Opener:
    """Opens scripted contestants and counts them."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def __call__(self, persona: Persona, which: str, tell: Tell) -> Contestant:
        self.opened.append(which)
        tell("reading the weights")
        return Contestant(f"{persona.name}@{which}", ScriptedEngine(lambda _request: which))


def test_the_last_two_stay_in_memory(robin: Persona) -> None:
    opener = Opener()
    voices = Voices(opener)
    for which in ("base", "prompted", "base", "r1", "base", "prompted"):
        with voices.voice(robin, which) as contestant:
            assert contestant.name == f"robin@{which}"

    assert opener.opened == ["base", "prompted", "r1", "prompted"]
    assert voices.opened() == ["robin@base", "robin@prompted"]
    assert voices.is_open(robin, "base")
    assert not voices.is_open(robin, "r1")


def test_a_contestant_answers_one_thread_at_a_time(robin: Persona) -> None:
    voices = Voices(Opener())
    inside, most = [], []

    def ask() -> None:
        with voices.voice(robin, "base"):
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.01)
            inside.pop()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(most) == 1
    assert len(most) == 8


def test_parameters_chosen_later_count_without_loading_again(robin: Persona) -> None:
    run = add_run(robin)
    opener = Opener()
    voices = Voices(opener)
    with voices.voice(robin, run):
        pass
    files.write_json(robin.runs_folder / run / "model" / "generation_config.json", {"temperature": 0.25})
    with voices.voice(robin, run) as contestant:
        assert contestant.params.temperature == 0.25

    assert opener.opened == [run]


def test_weights_that_changed_are_loaded_again(robin: Persona) -> None:
    run = add_run(robin)
    opener = Opener()
    voices = Voices(opener)
    for content in (b"one", b"two", b"two"):
        path = robin.runs_folder / run / "model" / "adapter_model.safetensors"
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
        with voices.voice(robin, run):
            pass

    assert opener.opened == [run, run]


def test_what_cannot_be_opened_can_be_tried_again(robin: Persona) -> None:
    tries: list[str] = []

    def refuse_once(persona: Persona, which: str, tell: Tell) -> Contestant:
        tries.append(which)
        if len(tries) == 1:
            raise ModelError("not now")
        return Opener()(persona, which, tell)

    voices = Voices(refuse_once)
    with pytest.raises(ModelError), voices.voice(robin, "base"):
        pass
    with voices.voice(robin, "base") as contestant:
        assert contestant.name == "robin@base"


def test_what_is_done_meanwhile_is_told_to_whoever_opens(robin: Persona) -> None:
    voices, heard = Voices(Opener()), []
    for _ in range(2):
        with voices.voice(robin, "base", heard.append):
            heard.append("open")

    assert heard == ["reading the weights", "open", "open"]
