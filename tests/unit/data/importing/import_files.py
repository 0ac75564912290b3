"""Files of every format as people keep them, whole and slightly broken, and what each should become."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from personatune.data.importing.understood import Wish

Rows = list[tuple[str, ...]]
"""Conversations, each as user, character, user, character... ; a stage direction begins with `#`."""


@dataclass(frozen=True)
class Case:
    """One file and what it means."""

    raw: bytes
    format: str
    rows: Rows
    skipped: list[int] = field(default_factory=list)
    remark: str = ""
    wish: Wish = field(default_factory=Wish)


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def share(*turns: str, names: tuple[str, str] = ("human", "gpt"), **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": names[i % 2], "value": text} for i, text in enumerate(turns)], **more}


def chat(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns], **more}


def tavern(*said: tuple[str, str], user: str = "Nel", char: str = "Odo") -> bytes:
    header = {"user_name": user, "character_name": char, "create_date": "2026-01-02"}
    return lines(header, *({"name": who, "is_user": who == user, "mes": text} for who, text in said))


ASK, TELL = "Is the ferry late?", "Only since spring."
ONE: Rows = [(ASK, TELL)]
CASES = {
    "sharegpt lines": Case(lines(share(ASK, TELL), share("Why?", "Ice.")), "sharegpt", [*ONE, ("Why?", "Ice.")]),
    "sharegpt array": Case(json.dumps([share(ASK, TELL)], indent=2).encode(), "sharegpt", ONE),
    "sharegpt of user and assistant": Case(lines(share(ASK, TELL, names=("user", "assistant"))), "sharegpt", ONE),
    "sharegpt with a system turn": Case(
        lines({"conversations": [{"from": "system", "value": "Dry."}, *share(ASK, TELL)["conversations"]]}),
        "sharegpt",
        [("#Dry.", ASK, TELL)],
    ),
    "sharegpt with a system key": Case(lines(share(ASK, TELL, system="Dry.")), "sharegpt", [("#Dry.", ASK, TELL)]),
    "sharegpt with a tool": Case(
        lines(share(ASK, TELL), share("x", "y", names=("human", "function_call"))), "sharegpt", ONE, [2]
    ),
    "sharegpt of the character's name": Case(
        lines(share(ASK, TELL, names=("Nel", "Odo"))), "sharegpt", ONE, wish=Wish(persona_name="Odo", user="Nel")
    ),
    "sharegpt with a broken line": Case(
        lines(share(ASK, TELL)) + b'{"conversations": [{"from"\n' + lines(share("a", "b")),
        "sharegpt",
        [*ONE, ("a", "b")],
        [2],
    ),
    "sharegpt that begins with the reply": Case(
        lines(share("Hm.", ASK, TELL, names=("gpt", "human"))), "sharegpt", ONE, remark="1 greeting left out"
    ),
    "sharegpt with an opening": Case(
        lines(share("Hm.", ASK, TELL, names=("gpt", "human"))),
        "sharegpt",
        [("Morning.", "Hm.", ASK, TELL)],
        wish=Wish(opening="Morning."),
    ),
    "sharegpt that ends with the user": Case(
        lines(share(ASK, TELL, "And?")), "sharegpt", ONE, remark="no reply follows"
    ),
    "sharegpt with an empty reply": Case(lines(share(ASK, TELL), share("a", "  ")), "sharegpt", ONE, [2]),
    "sharegpt with a number": Case(lines(share(ASK, TELL), share("a", 5)), "sharegpt", ONE, [2]),  # type: ignore[arg-type]
    "sharegpt with half an emoji": Case(
        lines(share(ASK, TELL)) + b'{"conversations": [{"from": "human", "value": "\\ud83d"}]}\n', "sharegpt", ONE, [2]
    ),
    "sharegpt with a broken first line": Case(
        b'{"conversations": [\n' + lines(share(ASK, TELL), share("a", "b")), "sharegpt", [*ONE, ("a", "b")], [1]
    ),
    "one pretty object with whole objects on lines of its own": Case(
        json.dumps({**share(ASK, TELL), "more": [{}, {"a": 1}, {}]}, indent=1).encode(), "sharegpt", ONE
    ),
    "messages": Case(lines(chat(("user", ASK), ("assistant", TELL))), "messages", ONE),
    "messages of parts": Case(
        lines(
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": ASK}]},
                    {"role": "assistant", "content": TELL},
                ]
            }
        ),
        "messages",
        ONE,
    ),
    "messages with two in a row": Case(
        lines(chat(("user", "Hey."), ("user", ASK), ("assistant", TELL))),
        "messages",
        [(f"Hey.\n\n{ASK}", TELL)],
        remark="joined",
    ),
    "messages in an object": Case(
        json.dumps({"data": [chat(("user", ASK), ("assistant", TELL))], "version": 1}, indent=1).encode(),
        "messages",
        ONE,
    ),
    "messages with control strings": Case(
        lines(chat(("user", ASK), ("assistant", TELL)), chat(("user", "a"), ("assistant", "b<end_of_turn>"))),
        "messages",
        ONE,
        [2],
    ),
    "alpaca": Case(lines({"instruction": ASK, "input": "", "output": TELL}), "alpaca", ONE),
    "alpaca with input": Case(
        lines({"instruction": "Say it shorter.", "input": ASK, "output": TELL}),
        "alpaca",
        [(f"Say it shorter.\n\n{ASK}", TELL)],
    ),
    "alpaca with history": Case(
        lines({"instruction": ASK, "output": TELL, "history": [["Hello.", "You again."]]}),
        "alpaca",
        [("Hello.", "You again.", ASK, TELL)],
    ),
    "alpaca with null": Case(
        lines({"instruction": ASK, "output": TELL}, {"instruction": "a", "output": None}), "alpaca", ONE, [2]
    ),
    "question and answer": Case(lines({"question": ASK, "answer": TELL, "id": 7}), "alpaca", ONE),
    "columns by name": Case(lines({"q1": ASK, "a1": TELL}), "rows", ONE, wish=Wish(user="q1", character="a1")),
    "csv": Case(f"prompt,response\n{ASK},{TELL}\n".encode(), "csv", ONE),
    "csv with semicolons, CRLF and a mark": Case(
        f'\ufeffPrompt;Response\r\n{ASK};"{TELL}"\r\n\r\n'.encode(), "csv", ONE
    ),
    "csv with quotes over lines": Case(
        b'prompt,response\n"A, ""b""\nc?",Yes.\nx,y,z\n', "csv", [('A, "b"\nc?', "Yes.")], [4]
    ),
    "tsv": Case(f"id\tuser\tcharacter\n1\t{ASK}\t{TELL}\n".encode(), "csv", ONE),
    "csv of other columns": Case(
        f"who;line;back\nme;{ASK};{TELL}\n".encode(), "csv", ONE, wish=Wish(user="line", character="back")
    ),
    "csv with a stage direction": Case(
        f"mood;user;reply\nDry.;{ASK};{TELL}\n".encode(), "csv", [("#Dry.", ASK, TELL)], wish=Wish(system="mood")
    ),
    "csv in Windows-1252": Case(
        "prompt,response\nCafé?,Déjà vu.\n".encode("cp1252"), "csv", [("Café?", "Déjà vu.")], remark="Windows-1252"
    ),
    "csv in UTF-16": Case("prompt,response\nÄh?,Öh.\n".encode("utf-16"), "csv", [("Äh?", "Öh.")]),
    "sillytavern": Case(tavern(("Odo", "Ahoy."), ("Nel", ASK), ("Odo", TELL)), "sillytavern", ONE, remark="greeting"),
    "sillytavern with swipes and macros": Case(
        lines(
            {"user_name": "Nel", "character_name": "Odo"},
            {"name": "Nel", "is_user": True, "mes": "I am {{user}}."},
            {
                "name": "Odo",
                "is_user": False,
                "mes": "I am {{CHAR}}.",
                "swipes": ["No.", "I am {{CHAR}}."],
                "swipe_id": 1,
            },
        ),
        "sillytavern",
        [("I am Nel.", "I am Odo.")],
        remark="1 unchosen swipe left out",
        wish=Wish(user_name="Nel"),
    ),
    "sillytavern with a broken line": Case(
        tavern(("Nel", ASK), ("Odo", TELL))
        + b'{"name": "Odo", \n'
        + lines({"name": "Nel", "is_user": True, "mes": "a"}, {"name": "Odo", "is_user": False, "mes": "b"}),
        "sillytavern",
        [*ONE, ("a", "b")],
        [4],
    ),
    "sillytavern of a group": Case(
        tavern(("Nel", "Well?"), ("Ida", "No."), ("Odo", "Yes.")), "sillytavern", [("Well?\n\nIda: No.", "Yes.")]
    ),
    "sillytavern with a header without names": Case(
        lines(
            {"chat_metadata": {}, "user_name": "unused", "character_name": "unused"},
            {"name": "Nel", "is_user": True, "mes": ASK},
            {"name": "Odo", "is_user": False, "mes": TELL},
        ),
        "sillytavern",
        ONE,
    ),
    "webui": Case(
        b"name: Odo\ngreeting: Ahoy.\ncontext: A ferryman.\n"
        b"example_dialogue: |-\n  {{user}}: Late?\n  {{char}}: Since spring.\n",
        "webui",
        [("Late?", "Since spring.")],
    ),
    "webui with a tag": Case(
        b"name: !!python/name:os.system Odo\ngreeting: a\ncontext: b\nexample_dialogue: 'You: a'\n", "webui", [], [1]
    ),
    "script with rules": Case(
        f"YOU: {ASK}\nODO: {TELL}\n---\nYou: And\nnow?\nOdo: Now\n\ntoo.\n".encode(),
        "script",
        [*ONE, ("And\nnow?", "Now\n\ntoo.")],
        wish=Wish(persona_name="Odo"),
    ),
    "script with blank lines between talks": Case(
        b"You: a\nOdo: b\n\nYou: c\nOdo: d\n", "script", [("a", "b"), ("c", "d")]
    ),
    "script with blank lines between speeches": Case(
        b"You: a\n\nOdo: b\n\nYou: c\n\nOdo: d\n", "script", [("a", "b", "c", "d")]
    ),
    "script in bold": Case(b"**You:** a\n**Odo:** b\n", "script", [("a", "b")]),
    "script of two names": Case(
        "Ida: Où es-tu ?\nOdo: Ici.\nIda: Où ?\nOdo: Là.\n".encode(),
        "script",
        [("Où es-tu ?", "Ici.", "Où ?", "Là.")],
        wish=Wish(character="odo"),
    ),
    "script in Chinese": Case(
        "我： 你好\n猫： 喵。\n".encode(), "script", [("你好", "喵。")], wish=Wish(character="猫")
    ),
    "script with stage directions beside names and a narrator": Case(
        b"ODO (gruff): Who?\nNEL: Me: Nel.\nI said (once): Nel.\nODO [chewing, with his back to the door]: Mm.\n"
        b"NARRATOR: It rains.\nAnd rains.\nNEL: See?\nODO: I see.\n",
        "script",
        [("Me: Nel.\nI said (once): Nel.", "Mm.", "See?", "I see.")],
        remark="2 stage directions beside a name left out 1 speech of a narrator left out",
        wish=Wish(persona_name="Odo"),
    ),
    "script whose character narrates": Case(
        b"You: a\nNarrator (softly): b\n", "script", [("a", "b")], wish=Wish(persona_name="Narrator")
    ),
    "record of a messenger": Case(
        b"12/03/24, 10:14 - Messages are encrypted.\n12/03/24, 10:15 - Nel: Up?\n"
        b"12/03/24, 10:16 - Odo: No.\nNot at 5:30.\n",
        "script",
        [("Up?", "No.\nNot at 5:30.")],
        remark="1 line with a time and without a speaker left out",
        wish=Wish(folder_name="Odo"),
    ),
    "record of a chat room": Case(
        b"[10:15] <Nel> hi\n[10:16] <Odo> no\n[10:17:30] * Nel sighs\n",
        "script",
        [("hi", "no")],
        wish=Wish(character="Odo"),
    ),
    "script that only talks of times": Case(
        b"You: When?\nOdo: At\n10:15 sharp, or 11:20: choose.\n",
        "script",
        [("When?", "At\n10:15 sharp, or 11:20: choose.")],
    ),
    "table with questions for names": Case(
        'Was war?;1. Antwort\n"Wo; dort?";"Im ""Turm"""\n'.encode("utf-8-sig"),
        "csv",
        [("Wo; dort?", 'Im "Turm"')],
        wish=Wish(user="Was war?", character="1. Antwort"),
    ),
    "table of Excel that says its separator": Case(b"sep=;\nuser;reply\na, b;c\nd\n", "csv", [("a, b", "c")], [4]),
    "messages with both roles swapped": Case(
        lines(chat(("assistant", ASK), ("user", TELL))), "messages", ONE, wish=Wish(user="assistant", character="user")
    ),
    "sharegpt of two names that are given": Case(
        lines(share(ASK, TELL, names=("Nel", "Odo"))), "sharegpt", ONE, wish=Wish(user="Nel", character="Odo")
    ),
    "messages with tools and weights": Case(
        lines(
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": None, "tool_calls": [{}]},
                ]
            },
            chat(("user", "a"), ("tool", "b")),
            {"messages": [{"role": "user", "content": ASK}, {"role": "assistant", "content": TELL, "weight": 0}]},
        ),
        "messages",
        ONE,
        [1, 2],
        remark="1 reply with the weight 0",
    ),
}
