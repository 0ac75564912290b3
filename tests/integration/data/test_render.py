"""The mask covers exactly the character's words and the ends of their turns, in every template."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from personatune.conversation import Conversation
from personatune.data.render import encode, end_of_turn, prompt_ids, prompt_text, render, stop_ids
from personatune.errors import DataError, StopTokenError
from personatune.training.proof import prove
from tiny_models import CHATML_SPECIAL, GEMMA_SPECIAL, small_talk, talk

SPECIAL = (*GEMMA_SPECIAL, *CHATML_SPECIAL)


def as_loaded(text: str) -> str:
    """What loading makes of a text, without the special tokens that the doctor refuses."""
    for token in SPECIAL:
        text = text.replace(token, "")
    return text.strip() or "…"


# Chosen to meet where turns are joined: blanks, breaks, emoji of several code points, other scripts, half tags.
WORDS = st.sampled_from(
    ["Hi", "there", " ", "  ", "\n", "\n\n", "\t", "🤖", "👩‍🚀", "é", "e\u0301", "日本", "<", ">", "model", "\r"]
)
TEXTS = (st.lists(WORDS, min_size=1, max_size=8).map("".join) | st.text(min_size=1, max_size=30)).map(as_loaded)
TURNS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3).map(lambda pairs: [t for pair in pairs for t in pair])
SYSTEM = st.none() | TEXTS
quick = settings(max_examples=60, deadline=None)


def spans(row):
    """The labelled tokens of each reply."""
    found, open_span = [], False
    for token, labelled in zip(row.token_ids, row.labelled, strict=True):
        if labelled and not open_span:
            found.append([])
        if labelled:
            found[-1].append(token)
        open_span = labelled
    return found


@quick
@given(TURNS, SYSTEM)
@example(["Hi", "Hello!", "Bye", "Go.\n\nNow."], "A robot.")
def test_labelled_tokens_are_the_replies_and_the_ends_of_their_turns(loaded, texts, system):
    conversation = Conversation(messages=talk(*texts, system=system))
    row = render(loaded.tokenizer, conversation)
    closing = end_of_turn(loaded.tokenizer)
    end = loaded.tokenizer.decode([closing])

    assert [loaded.tokenizer.decode(span) for span in spans(row)] == [reply + end for reply in conversation.replies]
    assert all(span[-1] == closing and closing not in span[:-1] for span in spans(row))
    assert row.turns == len(conversation.replies)
    assert row.labelled[-1]
    assert prove(loaded.tokenizer, [conversation], [row]) == closing


@quick
@given(TURNS, SYSTEM)
@example(["Hi", "Hello!", "Bye", "Go.\n\nNow."], "A robot.")
def test_what_stands_before_a_reply_is_what_generation_is_fed(loaded, texts, system):
    messages = talk(*texts, system=system)
    row = render(loaded.tokenizer, Conversation(messages=messages))

    for index, message in enumerate(messages):
        if message.role != "assistant":
            continue
        prompt = prompt_ids(loaded.tokenizer, messages[:index])
        assert list(row.token_ids[: len(prompt)]) == prompt
        assert row.labelled[len(prompt)]
        assert not row.labelled[len(prompt) - 1]


def test_the_ids_are_those_of_the_whole_conversation_as_the_template_writes_it(loaded):
    for conversation in small_talk(12):
        row = render(loaded.tokenizer, conversation)
        text = loaded.tokenizer.apply_chat_template(conversation.as_dicts(), tokenize=False)
        whole = encode(loaded.tokenizer, text)

        assert list(row.token_ids) == whole[: len(row.token_ids)]
        assert loaded.tokenizer.decode(whole[len(row.token_ids) :]).strip() == ""


def test_a_base_gemma_is_given_the_gemma_template(gemma):
    text = prompt_text(gemma.tokenizer, talk("Hi", "Yes?", "Who are you?", system="You are Pip."))

    assert text == (
        "<bos><start_of_turn>user\nYou are Pip.\n\nHi<end_of_turn>\n<start_of_turn>model\nYes?<end_of_turn>\n"
        "<start_of_turn>user\nWho are you?<end_of_turn>\n<start_of_turn>model\n"
    )


def test_a_template_of_its_own_is_used(llama):
    text = prompt_text(llama.tokenizer, talk(" Hi ", system="You are Pip."))

    assert text == (
        "<|im_start|>system\nYou are Pip.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n"
    )


def test_one_beginning_of_sequence_and_no_more(gemma):
    for conversation in small_talk(4):
        assert render(gemma.tokenizer, conversation).token_ids.count(gemma.tokenizer.bos_token_id) == 1


def test_every_token_that_ends_a_reply_is_a_stop_token(gemma, llama):
    def named(loaded):
        return set(loaded.tokenizer.convert_ids_to_tokens(list(loaded.stop_ids)))

    assert named(gemma) == {"<end_of_turn>", "<eos>"}
    assert named(llama) == {"<|im_end|>"}
    assert stop_ids(llama.tokenizer, [1, 3]) == (1, 3)
    assert stop_ids(llama.tokenizer, 1) == (1, 3)


@pytest.mark.parametrize("texts", [["Hi", "Hello!", "And?"], ["Hi"]])
def test_a_last_word_of_the_user_is_left_out(loaded, texts):
    row = render(loaded.tokenizer, Conversation(messages=talk(*texts)))

    assert row.turns == len(texts) // 2
    assert len(row.token_ids) == len(row.labelled) == max((i + 1 for i, on in enumerate(row.labelled) if on), default=0)


def test_turns_that_the_template_refuses_are_a_data_error_with_their_line(gemma):
    messages = talk("Hi", "Hello!")
    twice = Conversation.model_validate(
        {"messages": (messages[0], *messages), "source": {"path": "train.jsonl", "line": 7}}
    )

    with pytest.raises(DataError, match="must alternate") as caught:
        render(gemma.tokenizer, twice)
    assert caught.value.where == "train.jsonl:7"


def test_an_error_about_a_conversation_from_nowhere_names_no_place(gemma):
    twice = Conversation(messages=(*talk("Hi"), *talk("Hi", "Hello!")))

    with pytest.raises(DataError) as caught:
        render(gemma.tokenizer, twice)
    assert caught.value.where is None


def test_a_template_without_a_special_closing_is_refused(llama_with_template):
    plain = llama_with_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}")

    with pytest.raises(StopTokenError, match="does not close a reply with a special token"):
        end_of_turn(plain)


def test_a_template_that_rewrites_earlier_turns_is_refused(llama_with_template):
    # As templates do that drop the reasoning of earlier replies.
    rewriting = llama_with_template(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if loop.last or m['role'] == 'user' %}{{ m['content'] }}{% else %}(said before){% endif %}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )

    with pytest.raises(StopTokenError, match="rewrites earlier turns"):
        render(rewriting, Conversation(messages=talk("Hi", "Hello!", "And?", "Bye.")))
    assert render(rewriting, Conversation(messages=talk("Hi", "Hello!"))).turns == 1


def test_a_template_that_prompts_otherwise_than_it_writes_is_refused(llama_with_template):
    differing = llama_with_template(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>bot\n{% endif %}"
    )

    with pytest.raises(StopTokenError, match="of training and of generation differ"):
        render(differing, Conversation(messages=talk("Hi", "Hello!")))


@pytest.fixture
def llama_with_template(llama):
    """Llama's tokenizer, for the length of a test with another chat template."""
    own = llama.tokenizer.chat_template

    def change(template):
        llama.tokenizer.chat_template = template
        return llama.tokenizer

    yield change
    llama.tokenizer.chat_template = own
