import pytest

from personatune.errors import UsageError
from personatune.generation.contestant import Contestant
from personatune.generation.engine import Request, Sample
from personatune.generation.params import GenerationParams
from personatune.generation.scripted import ScriptedEngine
from personatune.generation.talk import Talk


def talk(answer=lambda r: f"{len(r.messages)}:{r.params.seed}", **more) -> Talk:
    return Talk(Contestant("pip@r1", ScriptedEngine(answer), **more), GenerationParams(seed=7))


def said(pieces) -> str:
    return next(piece.reply for piece in pieces if isinstance(piece, Sample))


def test_turns_build_on_each_other_and_every_reply_takes_the_next_seed():
    t = talk()
    assert said(t.say("hi")) == "1:7"
    assert said(t.say("and?")) == "3:8"
    assert [m.role for m in t.messages] == ["user", "assistant"] * 2


def test_retry_replaces_the_last_reply_with_another_seed():
    t = talk()
    said(t.say("hi"))
    assert said(t.retry()) == "1:8"
    assert len(t.messages) == 2


def test_undo_forgets_the_last_exchange():
    t = talk()
    said(t.say("hi"))
    t.undo()
    assert t.messages == []
    with pytest.raises(UsageError):
        t.undo()
    with pytest.raises(UsageError):
        next(t.retry())


def test_an_interrupted_reply_leaves_the_conversation_as_it_was():
    t = talk(lambda r: "one two three")
    said(t.say("hi"))
    pieces = t.say("more")
    next(pieces)
    pieces.close()
    assert len(t.messages) == 2
    pieces = t.retry()
    next(pieces)
    pieces.close()
    assert [m.content for m in t.messages] == ["hi", "one two three"]


def test_early_turns_are_left_out_when_they_no_longer_fit():
    class Measured(ScriptedEngine):
        def prompt_length(self, request: Request) -> int:
            return 10 * len(request.messages)

    t = Talk(Contestant("p@r1", Measured(lambda r: str(len(r.messages)))), GenerationParams(), context=60)
    for text in ("a", "b", "c"):
        said(t.say(text))
    assert t.forgotten == 2
    assert len(t.messages) == 6


def test_a_stage_direction_stands_before_every_prompt():
    t = talk(lambda r: r.messages[0].content, system_prompt="be Pip")
    assert said(t.say("hi")) == "be Pip"


def test_a_corrected_reply_takes_the_place_of_the_last_one():
    one = talk()
    with pytest.raises(UsageError, match="no reply to correct"):
        one.correct("Too early.")
    list(one.say("Hi"))
    one.correct("Better.")
    list(one.say("And?"))

    assert [m.content for m in one.messages[:3]] == ["Hi", "Better.", "And?"]
    one.undo()
    assert [m.content for m in one.messages] == ["Hi", "Better."]
