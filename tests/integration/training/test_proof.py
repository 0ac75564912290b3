"""A run that could not learn to stop does not start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from personatune.conversation import Conversation
from personatune.data.render import render
from personatune.errors import StopTokenError
from personatune.training.proof import prove
from tiny_models import small_talk, talk


@pytest.fixture
def rows(loaded):
    conversations = small_talk(8)
    return conversations, [render(loaded.tokenizer, conversation) for conversation in conversations]


def refused(loaded, conversations, rendered):
    with pytest.raises(StopTokenError) as caught:
        prove(loaded.tokenizer, conversations, rendered)
    return caught.value


def test_sound_rows_are_proved(loaded, rows):
    closing = prove(loaded.tokenizer, *rows)

    assert closing in loaded.stop_ids
    assert all(row.token_ids[-1] == closing for row in rows[1])


@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_row_whose_last_label_is_not_the_end_of_turn_is_named(loaded, rows, at):
    conversations, rendered = rows
    rendered[at] = replace(rendered[at], labelled=(*rendered[at].labelled[:-1], False))

    error = refused(loaded, conversations, rendered)

    assert "is not the end-of-turn token" in error.what
    assert error.where == f"train.jsonl:{at + 1}"


def test_a_reply_that_ends_in_the_middle_of_a_conversation_is_proved_too(loaded, rows):
    conversations, rendered = rows
    two = next(i for i, row in enumerate(rendered) if row.turns == 2)
    mask = list(rendered[two].labelled)
    first_end = next(i for i in range(len(mask) - 1) if mask[i] and not mask[i + 1])
    mask[first_end] = False
    rendered[two] = replace(rendered[two], labelled=tuple(mask))

    assert refused(loaded, conversations, rendered).where == f"train.jsonl:{two + 1}"


def test_a_reply_without_labels_is_found(loaded, rows):
    conversations, rendered = rows
    rendered[2] = replace(rendered[2], labelled=tuple(False for _ in rendered[2].labelled))

    assert "1 replies gave 0 supervised spans" in refused(loaded, conversations, rendered).what


def test_a_prompt_that_generation_would_not_feed_is_found(loaded, rows):
    conversations, rendered = rows
    ids = rendered[1].token_ids
    rendered[1] = replace(rendered[1], token_ids=(ids[1], ids[0], *ids[2:]))

    assert "differ, token by token" in refused(loaded, conversations, rendered).what


def test_a_control_token_after_the_reply_is_found(gemma):
    # The text smuggles in another special token behind which the template's own would not be the last label.
    conversation = Conversation(messages=talk("Hi", "Hello!"))
    row = render(gemma.tokenizer, conversation)
    eos = gemma.tokenizer.eos_token_id
    longer = replace(row, token_ids=(*row.token_ids, eos), labelled=(*row.labelled, True))

    assert "is not the end-of-turn token" in refused(gemma, [conversation], [longer]).what
