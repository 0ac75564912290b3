"""A reply depends on its conversation, its parameters and its seed: never on its company."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict

import numpy as np
import pytest
import torch

from personatune.data.render import prompt_ids
from personatune.errors import UsageError
from personatune.generation import local
from personatune.generation.engine import Request, Sample
from personatune.generation.local import MAX_ROWS, MIN_ROWS, PAD_TO, LocalEngine
from personatune.generation.params import GenerationParams
from personatune.generation.sampling import next_tokens
from personatune.models.device import Compute
from personatune.models.load import load_base
from personatune.models.resolve import resolve
from tiny_models import CONTEXT, SLIDING_WINDOW, small_talk, talk

LONGEST = 20


@pytest.fixture(scope="module")
def engine(loaded):
    return talkative(loaded)


def talkative(loaded):
    """An engine whose random model ends about half of its replies early."""
    return LocalEngine(loaded.model, loaded.tokenizer, (*loaded.stop_ids, *range(560, 580)))


def greedy(**given):
    return GenerationParams(**{"temperature": 0, "max_new_tokens": LONGEST} | given)


def mixed_requests(count):
    """Prompts of 10 to 120 tokens, some asked twice, and every kind of parameter."""
    chance = random.Random(11)
    openings = [conversation.messages[:-1] for conversation in small_talk(24)]
    openings += [talk(" ".join(conversation.prompts) * 6) for conversation in small_talk(4, seed=5)]
    return [
        Request(
            messages=chance.choice(openings),
            params=GenerationParams(
                temperature=chance.choice([0, 0.7, 1.0, 1.4]),
                top_p=chance.choice([0.9, 1.0]),
                top_k=chance.choice([0, 5, 64]),
                min_p=chance.choice([0, 0.05]),
                repetition_penalty=chance.choice([1.0, 1.2]),
                min_new_tokens=chance.choice([0, 0, 6]),
                max_new_tokens=chance.randint(6, LONGEST),
                seed=chance.randrange(2**40),
            ),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("folder", ["tiny_gemma", "tiny_llama"])
def test_a_reply_is_the_same_alone_in_a_crowd_and_in_another_order(request, folder, dtype):
    source = resolve(str(request.getfixturevalue(folder)))
    engine = talkative(load_base(source, Compute("cpu", dtype, "for a test")))
    requests = mixed_requests(40)
    together = engine.generate(requests)
    order = random.Random(3).sample(range(40), 40)
    shuffled = engine.generate([requests[at] for at in order])

    assert [together[at] for at in order] == shuffled
    for at in range(0, 40, 5):
        assert engine.generate([requests[at]]) == [together[at]]
    for at in range(2, 40, 13):
        assert engine.generate(requests[at : at + 11]) == together[at : at + 11]
    assert {sample.finish_reason for sample in together} == {"stop", "length"}


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_not_even_the_last_bit_of_a_score_depends_on_company(tiny_gemma, dtype, monkeypatch):
    """Replies could agree by luck where the scores behind them do not."""
    engine = talkative(load_base(resolve(str(tiny_gemma)), Compute("cpu", dtype, "for a test")))
    requests = mixed_requests(24)
    scores = defaultdict(list)

    def recording(logits, draws):
        for row, draw in zip(logits, draws, strict=True):
            scores[draw.params.seed].append(row.copy())
        return next_tokens(logits, draws)

    monkeypatch.setattr(local, "next_tokens", recording)
    engine.generate(requests)
    together = dict(scores)
    for request in requests[::4]:
        scores.clear()
        engine.generate([request])
        (alone,) = scores.values()
        assert np.array_equal(np.stack(alone), np.stack(together[request.params.seed]))


def test_groups_on_both_sides_of_the_row_limits_agree(engine):
    prompt = talk("Who are you?")
    requests = [Request(messages=prompt, params=GenerationParams(max_new_tokens=8, seed=i)) for i in range(70)]
    whole = engine.generate(requests)

    for count in (1, MIN_ROWS - 1, MIN_ROWS, MIN_ROWS + 1, MAX_ROWS, MAX_ROWS + 1):
        assert engine.generate(requests[:count]) == whole[:count]
    assert len({sample.token_ids for sample in whole}) > 60


def test_greedy_replies_are_those_of_transformers(loaded):
    engine = LocalEngine(loaded.model, loaded.tokenizer, loaded.stop_ids)
    penalties = itertools.cycle([1.0, 1.3, 1.05])
    asked = zip(mixed_requests(12), penalties, strict=False)
    requests = [Request(messages=r.messages, params=greedy(repetition_penalty=penalty)) for r, penalty in asked]
    lengths = {engine.prompt_length(request) for request in requests}
    assert min(lengths) < SLIDING_WINDOW * 2
    assert max(lengths) > SLIDING_WINDOW * 4

    for request, sample in zip(requests, engine.generate(requests), strict=True):
        prompt = torch.tensor([prompt_ids(loaded.tokenizer, request.messages)])
        out = loaded.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=LONGEST,
            repetition_penalty=request.params.repetition_penalty,
            eos_token_id=list(loaded.stop_ids),
            pad_token_id=0,
        )
        assert list(sample.token_ids) == out[0, prompt.shape[1] :].tolist()


def test_the_seed_decides(engine):
    def reply(seed, **given):
        params = GenerationParams(max_new_tokens=12, seed=seed, **given)
        return engine.generate([Request(messages=talk("Who are you?"), params=params)])[0].token_ids

    assert reply(1) == reply(1)
    assert len({reply(seed) for seed in range(8)}) > 4
    assert len({reply(seed, temperature=0) for seed in range(4)}) == 1


def test_replies_stop_or_are_cut_and_say_which(engine):
    for request, sample in zip(mixed_requests(40), engine.generate(mixed_requests(40)), strict=True):
        *words, last = sample.token_ids
        assert not set(words) & set(engine.stop_ids)
        assert (last in engine.stop_ids) == (sample.finish_reason == "stop")
        assert len(sample.token_ids) <= request.params.max_new_tokens
        if sample.finish_reason == "length":
            assert len(sample.token_ids) == request.params.max_new_tokens
        assert len(sample.token_ids) >= min(request.params.min_new_tokens + 1, request.params.max_new_tokens)
        assert (sample.messages, sample.params) == (request.messages, request.params)


def test_the_reply_is_the_new_words_alone(engine):
    requests = mixed_requests(20)
    for sample in engine.generate(requests):
        words = sample.token_ids[:-1] if sample.finish_reason == "stop" else sample.token_ids
        assert sample.reply == engine.tokenizer.decode(list(words)).strip()


def test_no_stop_token_before_the_shortest_length(loaded):
    everything = LocalEngine(loaded.model, loaded.tokenizer, range(4, 600))
    (sample,) = everything.generate(
        [Request(messages=talk("Hi"), params=GenerationParams(min_new_tokens=6, max_new_tokens=9, temperature=2))]
    )

    assert all(token < 4 for token in sample.token_ids[:6])
    assert (len(sample.token_ids), sample.finish_reason) == (7, "stop")


def test_the_stream_is_the_reply(engine):
    for request in mixed_requests(12):
        *pieces, sample = engine.stream(request)

        assert isinstance(sample, Sample)
        assert "".join(pieces) == sample.reply
        assert [sample] == engine.generate([request])


def test_text_is_streamed_while_it_is_made_and_can_be_left(loaded):
    engine = LocalEngine(loaded.model, loaded.tokenizer, loaded.stop_ids)
    request = Request(messages=talk("Hi"), params=GenerationParams(temperature=1, max_new_tokens=LONGEST))
    *pieces, _ = engine.stream(request)
    assert len([piece for piece in pieces if piece]) > 2

    left = engine.stream(request)
    next(left)
    left.close()
    *again, _ = engine.stream(request)
    assert again == pieces


def test_each_sample_is_told_once_with_its_number(engine):
    told = {}

    def keep(index, sample):
        assert index not in told
        told[index] = sample

    samples = engine.generate(mixed_requests(40), on_sample=keep)
    assert [told[index] for index in range(40)] == samples


def test_nothing_asked_is_nothing_answered(engine):
    assert engine.generate([]) == []


def test_a_conversation_up_to_the_models_context_is_answered_and_a_longer_one_refused(engine):
    def asked(words):
        return Request(messages=talk("x " * words), params=GenerationParams(max_new_tokens=64, temperature=0))

    words = next(n for n in range(CONTEXT) if engine.prompt_length(asked(n + 1)) > CONTEXT - 3)
    request = asked(words)
    room = CONTEXT - engine.prompt_length(request)
    assert 0 < room < PAD_TO
    (sample,) = engine.generate([request])
    assert 1 <= len(sample.token_ids) <= room

    with pytest.raises(UsageError, match=f"this model reads {CONTEXT}"):
        engine.generate([asked(10), asked(CONTEXT)])
    with pytest.raises(UsageError):
        list(engine.stream(asked(CONTEXT)))
