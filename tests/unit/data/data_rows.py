"""Conversations made for tests: single rows, and a data set in which the doctor finds nothing."""

from __future__ import annotations

import random

from personatune.conversation import Conversation, Message, Source

WORDS = """acorn amber apron arrow attic badger basin beacon birch biscuit blanket bonnet bramble breeze brick broom
bucket button candle canvas carrot castle cellar chapel cheese cherry chimney cider clock clover cobble copper
corner cotton cradle cricket crumb curtain daisy dawn dinner donkey drizzle drum dusk eagle ember engine fable
feather fennel ferry fiddle finch flannel flour fountain fox gable garden garlic gate ginger glacier goose gravel
hammer harbour harvest hazel hedge heron hinge honey horn island ivy jacket jar kettle kitten ladder lantern larder
leaf lemon lichen linen lizard log magpie maple marble marsh meadow melon mitten moss mud mustard needle nettle
night oak oats onion orchard otter oven owl paddle parsley path pebble pepper pillow pine plum pocket pond poppy
porridge pot quill quilt rabbit radish rain raven reed ribbon river robin rocket rope saddle sage sail sparrow
spoon stable star stone storm straw sugar swallow table teapot thistle thunder ticket tiger toad towel tulip
turnip valley velvet violet wagon walnut weasel whistle willow window winter wool wren yard yarn zebra""".split()  # noqa: SIM905


def talk(*texts: str, line: int | None = None, system: str | None = None) -> Conversation:
    """User and character in turns, as read from `train.jsonl` at `line`."""
    roles = ("user", "assistant")
    messages = [Message(role=roles[i % 2], content=text) for i, text in enumerate(texts)]  # type: ignore[arg-type]
    if system is not None:
        messages.insert(0, Message(role="system", content=system))
    source = Source(path="train.jsonl", line=line) if line else None
    return Conversation(messages=tuple(messages), source=source)


def clean_rows(count: int = 60) -> list[Conversation]:
    """Varied prompts and replies of 4 to 60 words; every sixth row has two exchanges."""
    draw = random.Random(7)

    def say(low: int, high: int, ends: str) -> str:
        words = draw.choices(WORDS, k=draw.randint(low, high))
        return " ".join(words).capitalize() + draw.choice(ends)

    rows = []
    for line in range(1, count + 1):
        exchanges = 2 if line % 6 == 0 else 1
        texts = [text for _ in range(exchanges) for text in (say(4, 9, "?!."), say(4, 60, ".!?…"))]
        rows.append(talk(*texts, line=line))
    return rows
