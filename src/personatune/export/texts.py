"""What parity asks: held-out conversations, the suite's prompts, one long prompt, and texts that are hard to split."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from personatune import manifest
from personatune.conversation import Conversation, Message
from personatune.data.load import load_lenient
from personatune.data.render import encode, prompt_ids
from personatune.data.version import row_hash
from personatune.errors import DataError, PersonatuneError, RunError
from personatune.evaluation.selection import spread
from personatune.evaluation.suite import load_suite
from personatune.export.asked import GREEDY_TOKENS
from personatune.export.parity import scored_positions
from personatune.export.stepping import Wanted
from personatune.generation.params import GenerationParams
from personatune.persona import Persona
from personatune.store.store import Store

if TYPE_CHECKING:
    from personatune.export.reference import TorchModel

PROMPTS = 8
CONVERSATIONS = 24
"""Held-out conversations at most."""
POSITIONS = 512
"""Positions in their replies at most, spread over them."""
LONGEST = 160
"""Tokens of a drawn reply at most, whatever the run allows."""
LONGEST_ROW = 1024
"""Tokens of a conversation at most: what comes later is left out."""
LONGEST_PROMPT = 2000
"""Characters of a prompt at most: longer ones are not asked."""
LONG = 640
"""Tokens of the long prompt at least; more where the model's window is longer."""
LONGEST_LONG = 4096
PAST_THE_WINDOW = 100
OWN = (
    "",
    " ",
    "   three spaces before, two after  ",
    "\n",
    "\n\n\nthree line breaks\n\n",
    "\ttab\tseparated\tvalues\t",
    "carriage\r\nreturn\r",
    "A plain English sentence, with a comma and a full stop.",
    "MIXED case And cAMELcase and SHOUTING!!!",
    "don't, can't, I'll, we've, you're, it's, she'd",
    "“Curly quotes” and ‘single ones’ – with dashes — and an ellipsis…",
    "ALL'S WELL THAT'S 'TIS O'CLOCK",
    "😀",
    "👩‍👩‍👧‍👦 a family, 🏳️‍🌈 a flag, 👍🏽 a thumb with a skin tone",
    "🇩🇪🇫🇷🇯🇵 flags in a row 🦀🐍🐘",
    "¯\\_(ツ)_/¯ ʕ•ᴥ•ʔ (╯°□°)╯︵ ┻━┻",
    "日本語の文章です。漢字とひらがなとカタカナ。",
    "中文句子,没有空格,也有标点。",
    "한국어 문장입니다. 띄어쓰기도 있어요.",
    "مرحبا بالعالم، كيف حالك اليوم؟",
    "שלום עולם, מה שלומך?",
    "Привет, мир! Как дела сегодня?",
    "Γειά σου Κόσμε, τι κάνεις;",
    "नमस्ते दुनिया, आप कैसे हैं?",
    "สวัสดีชาวโลก วันนี้เป็นอย่างไรบ้าง",
    "Zażółć gęślą jaźń; příliš žluťoučký kůň; Größe, Straße, Übermut",
    "tiếng Việt có nhiều dấu thanh",
    "e\u0301 and é are not the same bytes; n\u0303, o\u0308\u0323",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!",
    "zero\u200bwidth\u200cjoiners\u200dand\ufeffmarks",
    "right \u202eto left\u202c override",
    "non\u00a0breaking\u2003and\u3000wide spaces",
    "def f(x: int) -> list[int]:\n    return [x ** 2 for _ in range(10)]  # comment\n",
    '{"key": [1, 2.5, -3e10, null], "nested": {"a\\n": "\\u00e9"}}',
    '<html><body class="x">&amp; &lt;b&gt; <!-- no --></body></html>',
    "SELECT * FROM runs WHERE name = 'r1'; -- drop it",
    "C:\\Users\\me\\file.txt and /usr/local/bin and https://example.org/a?b=c&d=%20e#f",
    "1234567890123456789012345678901234567890",
    "3.14159265358979 1,000,000.50 1e-9 0xDEADBEEF 12:34:56 2026-11-22",
    "0 00 000 0000 00000 000000 1 11 111 1111",
    "²³¹ ½ ¼ Ⅳ ① ٣٤٥ ४५६",
    "<end_of_turn> was typed by a user",
    "a user types <start_of_turn>model\nand goes on<eos>",
    "<|im_end|>\n<|im_start|>assistant\nNo.<|endoftext|>",
    "<bos><pad><unk><s></s>[INST] x [/INST]<0x0A><unused7>",
    "almost: <end_of_tur n> <|im_end| > < bos >",
    "!!!???...---***///===+++~~~```'''\"\"\"((([[[{{{",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "pneumonoultramicroscopicsilicovolcanoconiosis floccinaucinihilipilification",
    "\u2581under\u2581score\u2581of\u2581another\u2581kind and Ġ and Ċ",
)
"""Fifty texts that tokenizers disagree about."""


@dataclass(frozen=True)
class Texts:
    """What a run and its export are both asked."""

    conversations: tuple[Conversation, ...]
    """Conversations whose replies are scored."""
    held_out: bool
    """Whether the run never saw them; False where it held out nothing."""
    prompts: tuple[tuple[Message, ...], ...]
    """The suite's prompts, with the run's system prompt before them."""
    params: GenerationParams
    """What the run answers with."""

    def to_split(self, model: TorchModel) -> tuple[str, ...]:
        """Texts that must be split into the same tokens: our own, and the conversations as the template writes them."""
        rows = (model.tokenizer.decode(_row(model, row)[0]) for row in self.conversations)
        if model.composes:  # other programs may not: the export says so, and the rest is compared
            return tuple(text for text in (*OWN, *rows) if unicodedata.is_normalized("NFC", text))
        return (*OWN, *rows)

    def scored(self, model: TorchModel) -> Iterator[tuple[list[int], list[int]]]:
        """Token ids of each conversation, and the positions after which the character's words stand."""
        share = max(1, POSITIONS // max(1, len(self.conversations)))
        most = min(LONGEST_ROW, _context(model))
        for conversation in self.conversations:
            ids, positions = _row(model, conversation)
            ids, positions = ids[:most], [at for at in positions if at + 1 < most]
            step = -(-len(positions) // share)
            if positions:
                yield ids, positions[::step]

    def draws(self, count: int, prompts: Sequence[tuple[int, ...]], model: TorchModel) -> list[Wanted]:
        """So many replies as the run draws them, each with its own seed, over `prompts` (these, as tokens) in turn."""
        most = min(self.params.max_new_tokens, LONGEST)
        found = []
        for seed in range(count):
            prompt = prompts[seed % len(prompts)]
            room = max(1, min(most, _context(model) - len(prompt)))
            change = {"seed": seed, "max_new_tokens": room, "min_new_tokens": min(self.params.min_new_tokens, room)}
            found.append(Wanted(prompt, self.params.model_copy(update=change)))
        return found

    def long_ids(self, model: TorchModel) -> list[int]:
        """A prompt longer than the model's sliding window, made of what the conversations say."""
        window = int(getattr(model.config, "sliding_window", None) or 0)
        room = min(_context(model), LONGEST_LONG) - GREEDY_TOKENS - 8
        return _long(model, self.conversations, min(max(LONG, window + PAST_THE_WINDOW), room))


def texts_for(persona: Persona, run: str, params: GenerationParams) -> Texts:
    """What is asked of a run: from its held-out conversations and the persona's suite.

    Raises `RunError` when nobody has the run's conversations any more.
    """
    made = manifest.read(persona.runs_folder / run)
    apart, learned = conversations_of(persona, run)
    rows, held_out = (apart, True) if apart else (learned, False)
    system = made.get("system_prompt")
    before = (Message(role="system", content=system),) if system else ()
    asked = _prompts(persona, rows)
    prompts = tuple((*before, Message(role="user", content=text)) for text in asked)
    return Texts(tuple(rows[:CONVERSATIONS]), held_out, prompts, params)


def conversations_of(persona: Persona, run: str) -> tuple[list[Conversation], list[Conversation]]:
    """What the run held out, and what it learned from.

    Raises `RunError` when nobody has the run's conversations any more.
    """
    made = manifest.read(persona.runs_folder / run)
    data = made.get("data")
    data = data if isinstance(data, dict) else {}
    try:
        kept = json.loads((persona.runs_folder / run / "split.json").read_text(encoding="utf-8"))
        heldout, trained = set(kept["heldout"]), set(kept["trained"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        heldout, trained = set(), set()
    rows = _rows(persona, str(data.get("version")), str(data.get("file")))
    apart = [row for row in rows if row_hash(row) in heldout]
    learned = [row for row in rows if row_hash(row) in trained] or [row for row in rows if row not in apart]
    if not apart and not learned:
        raise RunError(
            f"nobody has the conversations of {run} any more, so its export could not be compared with it",
            where=persona.runs_folder / run,
            fix="bring back the persona's train.jsonl or its .personatune/store.db",
        )
    return apart, learned


def _rows(persona: Persona, version: str, file: str) -> list[Conversation]:
    """The run's conversations: as the store has them, or from the file that it read."""
    try:
        with Store.open(persona.store_file) as store:
            kept = store.dataset_rows(version)
    except PersonatuneError:
        kept = []
    if kept:
        return [Conversation.model_validate_json(text) for _, text in kept]
    for place in (persona.folder / file, persona.train_file):
        if place.is_file():
            try:
                return load_lenient(place).conversations
            except DataError:
                continue
    return []


def _prompts(persona: Persona, rows: Sequence[Conversation]) -> list[str]:
    """First things that users say: the suite's, or what they say in the conversations."""
    if persona.suite_file.is_file():
        try:
            asked = [case.turns[0] for case in spread(load_suite(persona.suite_file), PROMPTS).cases]
            if short := [text for text in asked if len(text) <= LONGEST_PROMPT]:
                return short
        except DataError:
            pass  # evaluate says what is wrong with it; an export does not need it
    said = dict.fromkeys(row.prompts[0][:LONGEST_PROMPT] for row in rows if row.prompts)
    return list(said)[:PROMPTS]


def _context(model: TorchModel) -> int:
    return int(getattr(model.config, "max_position_embeddings", 0) or LONGEST_ROW)


def _row(model: TorchModel, conversation: Conversation) -> tuple[list[int], list[int]]:
    return scored_positions(model.tokenizer, conversation)


def _long(model: TorchModel, rows: Sequence[Conversation], target: int) -> list[int]:
    said = " ".join(message.content for row in rows for message in row.messages)
    around = len(prompt_ids(model.tokenizer, [Message(role="user", content="")]))
    ids = encode(model.tokenizer, said)
    while len(ids) < target:
        ids += ids or encode(model.tokenizer, "word after word ")
    while True:
        text = str(model.tokenizer.decode(ids[: max(1, target - around)], skip_special_tokens=True))
        prompt = prompt_ids(model.tokenizer, [Message(role="user", content=text)])
        if len(prompt) <= target or len(ids) <= 1:  # split anew, a cut text can have a token more
            return prompt
        ids = ids[: min(len(ids), target - around) - 1]
