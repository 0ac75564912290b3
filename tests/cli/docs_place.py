"""The folder that the documentation assumes: personas with runs, files to import, models by the names it uses."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs_blocks import ROOT

from personatune import cli as command_line
from personatune import files
from personatune import persona as personas
from personatune.cli.judging import Asked
from personatune.cli.judging import run as judge
from personatune.conversation import Message
from personatune.data.load import to_jsonl
from personatune.generation.contestant import Contestant
from personatune.generation.scripted import ScriptedEngine
from personatune.models import starter
from personatune.store.records import SampleRecord
from personatune.store.store import Store
from tiny_models import build_gemma, build_llama, small_talk

SMALL = """
[training]
device = "cpu"
dtype = "fp32"
epochs = 1
batch_size = 8
lora_rank = 2
probes = 2

[generation]
max_new_tokens = 64
"""
"""What a persona says who trains and answers within seconds."""
SUITE = """\
schema: persona-suite/v1
character: Robin
defaults: {samples: 1, seeds: [1], parameters: {max_new_tokens: 64}}
cases:
  - {id: moons, kind: knowledge, input: "Explain satellites orbiting Jupiter."}
  - {id: tram, kind: everyday, input: "Which tram goes to the harbour?"}
"""
CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Odo",
        "description": "A ferryman.",
        "personality": "Dry.",
        "scenario": "",
        "first_mes": "You are late.",
        "mes_example": "<START>\n{{user}}: Is it deep?\n{{char}}: Deep enough.",
    },
}
FILES: dict[str, Any] = {
    "chats.jsonl": [{"conversations": [{"from": "human", "value": f"Is it {n}?"}, {"from": "gpt", "value": f"{n}."}]}
                    for n in ("Monday", "late", "raining")],
    "chat.jsonl": [{"user_name": "Nel", "character_name": "Robin", "create_date": "2026-01-02"},
                   {"name": "Robin", "is_user": False, "mes": "Up already?"},
                   {"name": "Nel", "is_user": True, "mes": "The kettle sang."},
                   {"name": "Robin", "is_user": False, "mes": "Kettles do."}],
    "replies.jsonl": [{"prompt": "What do you do when it rains?", "reply": "I count the drips."},
                      {"prompt": "And then?", "reply": "Then I count them again, because again and again and again."}],
    "liked.jsonl": [{"prompt": [{"role": "user", "content": f"Good morning, it is {n}!"}],
                     "chosen": [{"role": "assistant", "content": f"Is it? I was up at {n}!"}],
                     "rejected": [{"role": "assistant", "content": f"Good morning! How can I help you at {n}?"}]}
                    for n in range(12)],
    "mails.csv": "asked,answered,mood\nIs the roof tight?,Mostly.,gruff\nAnd the cellar?,Wet as ever.,gruff\n",
    "play.txt": "You: Who is there?\nROBIN: The one with the vest.\n\nYou: Which vest?\nROBIN: The red one.\n",
}  # fmt: skip


def prepare(folder: Path, home: Path) -> Path:
    """Make everything that the pages assume, with tiny models; `home` is where starters are looked for."""
    folder.mkdir()
    _models(folder, home)
    for name, content in FILES.items():
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        (folder / name).write_text(text, "utf-8")
    (folder / "odo.png").write_bytes(_picture(CARD))
    talks = small_talk(30)
    (folder / "robin.jsonl").write_text(to_jsonl(talks), "utf-8")
    (folder / "conversations").mkdir()
    for part in (0, 1):
        (folder / "conversations" / f"{part}.jsonl").write_text(to_jsonl(talks[part::2]), "utf-8")
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    shutil.copytree(ROOT / "examples", folder / "examples")
    with contextlib.chdir(folder), _environment(home):
        _robin()
        for name in ("pip", "keeper"):  # the same character by another name: training each would take a minute
            shutil.copytree("robin", name)
            toml = Path(name, "persona.toml")
            toml.write_text(toml.read_text("utf-8").replace("Robin", name.title()), "utf-8")
    return folder


def make_small(persona: Path, rows: int = 30) -> None:
    """Let a persona that a command has just made train within seconds: few rows, few prompts, small choices."""
    toml = persona / "persona.toml"
    if "[training]" not in (text := toml.read_text("utf-8")):
        toml.write_text(text + SMALL, "utf-8")
    train = persona / "train.jsonl"
    train.write_text("".join(train.read_text("utf-8").splitlines(keepends=True)[:rows]), "utf-8")
    suite = yaml.safe_load((persona / "suite.yaml").read_text("utf-8"))
    suite["cases"] = suite["cases"][:2]
    suite["defaults"] = {"samples": 1, "seeds": [1], "parameters": {"max_new_tokens": 64}}
    (persona / "suite.yaml").write_text(yaml.safe_dump(suite), "utf-8")


def _models(folder: Path, home: Path) -> None:
    """Tiny models where the starters are unpacked, and under the other names that the pages use."""
    gemma, llama = build_gemma(folder / "models" / "gemma"), build_llama(folder / "models" / "llama")
    for model in (gemma, llama):
        _teach_to_end(model)
    for name, source in (("gemma-3-270m", gemma), ("smollm2-135m-instruct", llama)):
        known = starter.STARTERS[name]
        place = shutil.copytree(source, home / "models" / f"{name}-{known.sha256[:12]}")
        files.write_json(place / "personatune.json", {"gguf_sha256": known.sha256, "layout": 2})
    for name in ("gemma-3-270m", "gemma-3-270m-it", "gemma-3-12b-pt"):
        shutil.copytree(gemma, folder / "google" / name)  # a folder here is taken before the hub is asked
    shutil.copytree(gemma, folder / "home" / "models" / "my-model")


def _teach_to_end(model_folder: Path) -> None:
    """Train a random model for a moment: words come evenly, about every eighth is the last, then "!" and the end."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    gemma = model.config.model_type.startswith("gemma")
    end = tokenizer.convert_tokens_to_ids("<end_of_turn>" if gemma else "<|im_end|>")
    (mark,) = tokenizer.encode("!", add_special_tokens=False)
    chance = random.Random(5)
    words = [at for at in range(280, len(tokenizer)) if tokenizer.decode([at]).strip().isalpha()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for _ in range(60):
            rows = []
            for _ in range(16):
                row: list[int] = []
                while len(row) < 40:
                    row += [*chance.choices(words, k=1 + int(chance.expovariate(1 / 8))), mark, end]
                rows.append(row[:40])
            ids = torch.tensor(rows)
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.config.max_position_embeddings = 2048  # room for a character's description
    model.save_pretrained(model_folder)


def _robin() -> None:
    """A small persona in the present folder: runs r1 to r3, an evaluation e1, a judging, and replies up to s40."""
    robin = personas.create(Path("robin"), display_name="Robin", train_jsonl=to_jsonl(small_talk(30)), suite_yaml=SUITE)
    make_small(robin.folder)
    for seed in ("1", "2", "3"):
        _command("train", "robin", "--seed", seed)
    _command("evaluate", "robin@r1", "--skip-general")
    with Store.open(robin.store_file) as store:
        asked = SampleRecord(
            origin="chat", contestant="robin@r1", run="r1", reply="In a a a", finish_reason="stop",
            messages=(Message(role="user", content="Where do you live?"),),
        )  # fmt: skip
        while store.add_samples([asked]) != ["s40"]:
            pass
    _judging()


def _judging() -> None:
    """A judging of r1 and r2, closed after 16 votes that took their time."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    def clock() -> datetime:
        nonlocal moment
        moment += timedelta(seconds=5)
        return moment

    @contextlib.contextmanager
    def voice(which: str) -> Iterator[Contestant]:
        def answer(request: Any) -> str:
            return f"{'Squeak' if which == 'r1' else 'Hello'} {request.params.seed % 97}!"

        yield Contestant(f"robin@{which}", ScriptedEngine(answer))

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(sys, "stdin", io.StringIO("left\n" * 16 + "q\n"))
        words = ("robin@r1", "robin@r2")
        assert judge(Asked(words=words, judge="ada"), lambda _persona, _judging: voice, clock) == 0
        assert judge(Asked(words=words, judge="ada", close=True)) == 0


def _command(*words: str) -> None:
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        code = command_line.run(list(words))
    assert code == 0, told.getvalue()


@contextlib.contextmanager
def _environment(home: Path) -> Iterator[None]:
    before = dict(os.environ)
    os.environ["PERSONATUNE_HOME"] = str(home)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _picture(card: dict[str, Any]) -> bytes:
    from PIL import Image, PngImagePlugin

    info, written = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text("chara", base64.b64encode(json.dumps(card).encode()).decode())
    Image.new("RGB", (2, 2)).save(written, "PNG", pnginfo=info)
    return written.getvalue()
