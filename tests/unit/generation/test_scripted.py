"""The scripted engine keeps the laws that every engine keeps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from personatune.conversation import Message
from personatune.generation.engine import Engine, Request, Sample
from personatune.generation.params import GenerationParams
from personatune.generation.scripted import ScriptedEngine

TEXTS = st.text(max_size=60)


def asking(text: str, max_new_tokens: int = 256) -> Request:
    message = Message(role="user", content=text)
    return Request(messages=(message,), params=GenerationParams(max_new_tokens=max_new_tokens))


def echo() -> Engine:
    return ScriptedEngine(lambda request: request.messages[-1].content)


@given(st.lists(TEXTS, max_size=8))
def test_samples_come_in_the_order_of_the_requests_and_are_told_one_by_one(texts):
    told = []
    requests = [asking(text) for text in texts]
    samples = echo().generate(requests, on_sample=lambda index, sample: told.append((index, sample)))

    assert [sample.reply for sample in samples] == texts
    assert [sample.messages for sample in samples] == [request.messages for request in requests]
    assert told == list(enumerate(samples))


@given(TEXTS, st.integers(1, 10))
def test_the_stream_is_the_reply_in_pieces_then_the_sample(text, limit):
    *pieces, sample = echo().stream(asking(text, limit))

    assert isinstance(sample, Sample)
    assert "".join(pieces) == sample.reply
    assert [sample] == echo().generate([asking(text, limit)])


def test_a_reply_over_the_limit_is_cut_and_says_so():
    (cut,), (whole,) = echo().generate([asking("one two three", 2)]), echo().generate([asking("one two three", 3)])

    assert (cut.reply, cut.finish_reason) == ("one two", "length")
    assert (whole.reply, whole.finish_reason) == ("one two three", "stop")
