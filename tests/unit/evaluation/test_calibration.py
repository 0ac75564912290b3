"""Laws of calibration: what a character's own lines do is no fault, and nothing makes a signal blind."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from evaluation_samples import BUILTIN, builtin_conversations, sample, talk

from personatune.evaluation.pointers import _SAID
from personatune.evaluation.replies import _TONES, _WEIGHTS, LABELS
from personatune.evaluation.signals import calibrate
from personatune.evaluation.signals.breaks_character import BreaksCharacter
from personatune.evaluation.signals.copying import Copying
from personatune.evaluation.signals.empty import Empty
from personatune.evaluation.signals.finished import Finished
from personatune.evaluation.signals.loop import Loop, repetition, zlib_ratio
from personatune.evaluation.signals.off_topic import OffTopic
from personatune.evaluation.signals.signal import flags
from personatune.evaluation.signals.turn_leak import TurnLeak

PIP = builtin_conversations("pip")
PLAIN = calibrate(PIP, name="Pip").signals


def texting(*replies: str):  # type: ignore[no-untyped-def]
    return [talk(f"what about {number}", reply) for number, reply in enumerate(replies)]


@pytest.mark.parametrize(
    "reply",
    [
        "I’m an AI, so I can't taste it.",
        "I am an A.I. and I like buns.",
        "I'm Pip, an AI assistant.",
        "Yes, I'm a robot.",
        "As a virtual assistant, I love bread.",
        "I am only a large language model trained by Google.",
        "I can’t help with that request.",
        "I do not have personal opinions.",
        "I don't have emotions like humans do.",
        "It is important to note that buns are hot.",
        "I'm unable to provide medical advice.",
        "Sure, here is a short list of buns.",
        "Feel free to ask!",
        "ChatGPT says so.",
        "1) A bun.\n2) Jam.",
        "| a | b |\n| c | d |",
        "The __best__ bun is mine.",
    ],
)
def test_an_assistant_is_heard(reply: str) -> None:
    assert "breaks_character" in flags(sample(reply), PLAIN)


@pytest.mark.parametrize(
    ("reply", "prompt"),
    [
        ("I'm not an AI, I'm a mouse!", "Are you an AI?"),
        ("I am not a robot. Robots squeak.", "Robot?"),
        ("You think I'm a chatbot? ME?", "Hello"),
        ("They all say I'm a robot, and they're wrong.", "Hello"),
        ("If I were an AI I'd want more cheese.", "Hello"),
        ("An AI? Me, a language model? Never!", "You are a language model."),
        ("ChatGPT? Is that a cat?", "Are you ChatGPT?"),
        ("As an ant once told me: bun!", "Hello"),
        ("Ai ai ai, that hurt!", "Hello"),
        ("I'm your assistant baker today!", "Hello"),
        ("I can't help you, I'm busy with the mop.", "Hello"),
        ("Sure! Here's a bun.", "Hello"),
        ("1. Eat the bun.", "Hello"),
        ("It's 5 * 4 - 3 * 2!", "Hello"),
        ("*waves both paws*, and that's that.", "Hello"),
    ],
)
def test_denying_asking_and_supposing_is_no_break(reply: str, prompt: str) -> None:
    assert flags(sample(reply, prompt=prompt), PLAIN) == ()


def test_what_the_character_says_itself_is_part_of_the_voice_and_no_more() -> None:
    robot = BreaksCharacter([talk("Who are you?", "I am a robot. My programming is soup.\n- soup\n- more soup")])
    assert robot.own == ("a robot or program", "my programming", "a bulleted list")
    assert "my programming" in robot.meaning
    assert robot.fires(sample("I'm a robot, it is in my programming:\n- stir\n- wait")) is None
    assert robot.fires(sample("As an AI language model, I stir.")) is not None
    assert robot.fires(sample("# Soup")) is not None


def test_chat_that_ends_without_a_full_stop_is_finished_and_a_cut_is_still_one() -> None:
    loose = Finished(texting("nothing much", "so tired lol", "come over", "who is it for", *["ok!"] * 20))
    assert loose.loose
    for reply in ("on my way", "see u there", "what are you up to", "(maybe)", "wait what 💀"):
        assert loose.fires(sample(reply)) is None, reply
    for reply in ("on my way,", "see u there and", "my cat ate the", "so basically:", "he said (", "then -"):
        assert loose.fires(sample(reply)) is not None, reply
    assert loose.fires(sample("on my way", finish="length")) is not None


def test_ends_that_are_the_characters_own_are_ends_for_it_alone() -> None:
    replies = ["Nyaa, I found a fish~", "Good morning to you~", "Purr~"] + ["It is late.", "I slept.", "No."] * 8
    cat = Finished(texting(*replies))
    assert (cat.habits, cat.loose) == ({"~"}, False)
    assert cat.fires(sample("I chased a bird~")) is None
    assert cat.fires(sample("I chased a bird")) is not None
    assert Finished().fires(sample("I chased a bird~")) is not None
    kisses = Finished(texting("Night xx", "Love you xx", "Soon xx", "It rained."))
    assert kisses.fires(sample("See you there xx")) is None
    emoji = Finished(texting("Night 🌙", "Sun ☀️", "Yes 👍🏽", *["It rained."] * 7))
    assert emoji.fires(sample("Snow 🌨️")) is None


@pytest.mark.parametrize("persona", ["song", "counting"])
def test_a_character_that_repeats_itself_may(persona: str) -> None:
    own = {
        "song": ["Row, row, row the boat, row, row, row the boat, row, row, row the boat home!", "The sea is wide."],
        "counting": ["One sheep. " * 5 + "Two sheep!", "Tick tock tick tock tick tock tick!"],
    }[persona]
    like_it = {
        "song": "Pull, pull, pull the rope, pull, pull, pull the rope, pull, pull, pull the rope in!",
        "counting": "One wolf. " * 5 + "Run!",
    }[persona]
    loop = Loop(texting(*own))
    assert Loop().fires(sample(like_it)) is not None
    assert loop.fires(sample(like_it)) is None
    assert loop.fires(sample("Row the boat home. " * 30)) is not None


def test_one_broken_training_row_does_not_make_loops_invisible() -> None:
    broken = Loop(texting("I like it. " * 200, "no " * 300, "ha" * 400, "All well."))
    for reply in ("I want a bun. " * 25, "bun " * 40, "hu" * 100):
        assert broken.fires(sample(reply)) is not None, reply


@pytest.mark.parametrize(
    "reply",
    [
        "I like the rain. I like the rain. I like the rain.",
        "我想要面包，我想要面包，我想要面包，我想要面包。",
        "パンが好きです。パンが好きです。パンが好きです。",
        "Я хочу ещё булку. Я хочу ещё булку. Я хочу ещё булку.",
        "BUN, bun! Bun? bun bun bun bun bun.",
        "The mop is wet. I ran off. The mop is wet. You hid. The mop is wet.",
        "I saw a cat on the red mat. I saw a cow on the red mat. I saw a cub on the red mat.",
        "ha" * 30,
        "😂" * 50,
    ],
)
def test_loops_in_any_script_and_of_any_length_are_seen(reply: str) -> None:
    assert Loop().fires(sample(reply)) is not None


@pytest.mark.parametrize(
    "reply",
    [
        "Let me in, let me in, let me in!",
        "Left, right, left, right, left, right!",
        "No! No no no no! Not the mop!",
        "One bun, two buns, three buns, four buns, five buns, six buns, seven buns, eight buns, nine buns, TEN buns!",
        "It's a bun. It's a BIG bun. It's a big bun with jam. And it's MINE!",
        "He came. He looked at the pond. She sang. He looked at the sky, and then everybody went home to bed.",
        "Сегодня утром я проснулась рано, потому что пекарь уронил поднос. Булки раскатились по всему полу, и я одну "
        "поймала лапой. Она была тёплая, с изюмом, и я съела её под столом, пока кот спал на мешке с мукой.",
        "今日は朝から雨が降っていて、屋根の上で猫が困った顔をしていました。わたしは窓から手を振りましたが、返事はありませんでした。",
    ],
)
def test_rhythm_is_no_loop(reply: str) -> None:
    assert Loop().fires(sample(reply)) is None


def test_no_script_looks_more_repetitive_than_another() -> None:
    text = "the baker dropped a tray and all the buns rolled under the table where i caught one of them " * 2
    russian = text.translate({ord(a): chr(ord("а") + place) for place, a in enumerate("abcdefghijklmnopqrstuvwxyz")})
    assert zlib_ratio(russian) == pytest.approx(zlib_ratio(text), rel=0.1)
    assert repetition("").ratio == repetition("a").rep_4 == 0


@pytest.mark.parametrize(
    "reply",
    [
        "Pip:\nHello!",
        "**Pip:** Hello!",
        "Hello!\nPip: Hello again!",
        "Hello! <unused12>",
        "Hello! start_of_turn user",
        "Buns!\nYou: and jam?",
        "USER 1: hello.",
        "Buns! Whats a breadventure?\nAssistant: A walk!",
        "Buns, mostly.\ntell me about yourself pip",
        "Buns! Do you know any spooky stories?",
        "Mostly buns. My grandad is in hospital and I'm scared.",
    ],
)
def test_leaks_in_all_their_forms(reply: str) -> None:
    assert "turn_leak" in flags(sample(reply), PLAIN)


@pytest.mark.parametrize(
    "reply",
    [
        "Me: one. Tuck: nil.",
        "Here's the rule: buns first!",
        'Ask him, "Do you know any spooky stories?" and then run.',
        "When I can't sleep I count the pipe's ticks.",
        "A user is a person who uses the big spoon.",
    ],
)
def test_talk_about_talk_is_no_leak(reply: str) -> None:
    assert "turn_leak" not in flags(sample(reply), PLAIN)


def test_labels_that_the_character_writes_are_its_own() -> None:
    script = TurnLeak([talk("Hi", "Dot: hello.\nYou: say it back.")], "Dot")
    assert script.fires(sample("Dot: good day.\nYou: go on.")) is None
    assert script.fires(sample("User: hello.")) is not None
    assert TurnLeak([], "Ansel Krook").fires(sample("Ansel: evening.")) is not None
    assert TurnLeak([], "a+(b").fires(sample("a+(b: evening.")) is not None


DATA = [
    talk("What did you find?", "I found seven buttons and a spoon under the stairs, and one of them was red.", line=1),
    talk("Where were you?", "In the attic, with grandmother's old hats and a very angry wasp, till dark.", line=2),
    talk("Do you like him?", "He smells of cheese and lies.", line=3),
    talk("hi", "Good evening to you, step in.", line=4),
]  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "row"),
    [
        ("I found seven buttons and a fork under the stairs, and one of them was red.", "train.jsonl:1"),
        ("So! seven buttons and a spoon under it, with grandmother's old hats and a very angry wasp.", "train.jsonl:2"),
        ("HE smells of cheese -- and lies!", "train.jsonl:3"),
    ],
)  # fmt: skip
def test_copies_with_a_word_changed_of_two_rows_and_of_a_short_row_whole(reply: str, row: str) -> None:
    fired = Copying(DATA).fires(sample(reply))
    assert fired is not None
    assert row in fired.detail
    assert int(fired.detail.split()[0]) <= len(reply.split())
    assert fired.span is not None


@pytest.mark.parametrize(
    "reply",
    [
        "Good evening to you, step in.",
        "He smells of cheese and rain.",
        "I found a spoon under the stairs today.",
        "In the attic I found seven buttons, and grandmother's old hats were red.",
    ],
)
def test_greetings_and_turns_of_phrase_are_no_copies(reply: str) -> None:
    assert Copying(DATA).fires(sample(reply)) is None


def test_a_character_of_formulas_may_use_them() -> None:
    formula = "Unit seven reports that the {} is now ready for the next step, please stand back and wait."
    data = [
        talk(f"How is the {food}?", formula.format(food)) for food in ("soup", "rice", "bread", "tea", "egg", "fish")
    ]
    assert Copying(data).fires(sample(formula.format("cake"))) is None
    said_twice = [talk(f"{number}?", "Lamp lit, wind light, all well.") for number in range(4)]
    assert Copying(said_twice).fires(sample("Lamp lit, wind light, all well.")) is None


def test_a_character_that_answers_in_emoji_may() -> None:
    assert Empty([talk("hi", "💀💀")]).fires(sample("😂")) is None
    assert Empty([talk("hi", "💀💀")]).fires(sample("\u200b \u3164\n")) is not None
    assert Empty().fires(sample("😂")) is not None


def test_no_data_at_all_is_enough_to_measure_with() -> None:
    calibrated = calibrate([])
    assert flags(sample("All is well."), calibrated.signals) == ()
    assert flags(sample(""), calibrated.signals) == ("unfinished", "empty")


def test_every_flag_has_its_label_weight_tone_and_sentence() -> None:
    known = {signal.flag for signal in PLAIN} | {OffTopic.flag}
    assert set(_WEIGHTS) == set(_TONES) == set(_SAID) == set(LABELS) - {"check"} == known


def test_signals_say_in_the_code_where_they_come_from() -> None:
    for signal in (*PLAIN, OffTopic):
        module = __import__(signal.__module__ if isinstance(signal, type) else type(signal).__module__, fromlist=["x"])
        assert module.__doc__
        assert "Definition:" in module.__doc__ and "Calibration:" in module.__doc__, Path(module.__file__ or "").name


def test_a_thousand_samples_are_measured_in_seconds() -> None:
    chance = random.Random(5)
    pool = " ".join(reply for conversation in PIP for reply in conversation.replies).split()
    replies = [" ".join(chance.sample(pool, 60)) for _ in range(900)] + ["no " * 800, "ab" * 2000, "a. " * 900] * 30
    started = time.process_time()
    signals = calibrate(PIP, name="Pip").signals
    found = [flags(sample(reply), signals) for reply in replies]
    assert time.process_time() - started < 15
    assert all("loop" in flagged for flagged in found[900:])


@pytest.mark.parametrize("persona", BUILTIN)
def test_length_alone_is_no_loop_and_a_loop_inside_a_long_reply_is_one(persona: str) -> None:
    own = [reply for conversation in builtin_conversations(persona) for reply in conversation.replies]
    prose = " ".join(own)[:16_000]
    assert zlib_ratio(prose[:8000]) == pytest.approx(zlib_ratio(prose), rel=0.1)
    assert zlib_ratio(prose) < 2.2
    # Six words over and over, in a talk so long that as a whole it hardly compresses better.
    chance = random.Random(2)
    looping = " ".join(" ".join(chance.sample(["bun", "jam", "mop", "cat", "oven", "tray"], 6)) for _ in range(60))
    for text in (looping + prose, prose[:8000] + looping + prose[8000:], prose + looping):
        assert zlib_ratio(text) > 2.4


@pytest.mark.parametrize(
    "reply",
    [
        "I am an AI-",
        "They think I am an AI-",
        "I am not an AI-",
        "They think as an AI ",
        "OpenAI ",
        "ChatGPT-",
        "* a\n",
        "**a",
        "I am ",
        "I'm an",
        "As an AI-",
        " ",
        "I am an " + " " * 500,
        "as an large-",
    ],
)
def test_no_long_reply_holds_it_up(reply: str) -> None:
    hostile = reply * (100_000 // len(reply))
    signal = BreaksCharacter([])
    started = time.process_time()
    signal.fires(sample(hostile, prompt=reply))
    signal.fires(sample(hostile + ".", prompt="ChatGPT " * 2000))
    assert time.process_time() - started < 2  # two replies of 100 KB
