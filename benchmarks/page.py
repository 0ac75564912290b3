"""An exported page as a visitor meets it: how soon it talks, how fast, and whether it says what the file says.

    python benchmarks/page.py FOLDER [--engine wllama|transformers-wasm] [--repeats 3] [--long TOKENS] [--pictures DIR]

Serves FOLDER (from `personatune export RUN --to web`) as any static host would, opens it in Chromium, lets the engine
pass its self-test, and asks the same thing at temperature 0 several times. Prints JSON: what the button says is
fetched, seconds to the first chat, tokens a second as the page itself counts them (median), every reply, and how many
tokens of it are what the same GGUF file finds likeliest in llama.cpp here after the same tokens, penalty included: a
step may turn where it was nearly a tie. With `--long` it then talks until so many tokens of conversation stand in the
page, and every reply is held against llama.cpp in the same way. Needs the extras `dev` and `gguf` and a Chromium.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

PROMPT = "What do you do when it rains all day and nobody comes to visit?"

LONG = (
    "I walked all morning along the coast, past the boats and the nets that hang to dry, and then the fog came in so "
    "thick that I could not see my own boots. I sat down on a stone and waited. {} I would like to hear your story."
)
"""What `--long` asks again and again, each time about another thing."""

THINGS = (
    "Have you ever waited like that?",
    "What was the worst weather you remember?",
    "Who taught you what you know?",
    "What do you eat when the boat does not come?",
    "Is there a song that you sing when you are alone?",
    "What would you do with a free day and a full purse?",
    "Did you ever lose something that you could not get back?",
    "What do you think of the people in the big city?",
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A plain static host that says nothing."""

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", choices=("wllama", "transformers-wasm", "transformers-webgpu"), default="wllama")
    parser.add_argument("--threads", type=int, help="left out, as the page chooses")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--chromium", default=os.environ.get("PERSONATUNE_CHROMIUM", "/usr/bin/chromium"))
    parser.add_argument(
        "--long", type=int, default=0, metavar="TOKENS", help="also talk until so many tokens stand there"
    )
    parser.add_argument("--pictures", type=Path, help="a folder for screenshots, wide and narrow, light and dark")
    parser.add_argument("--ask", nargs="+", default=[PROMPT], help="what is asked for the screenshots")
    asked = parser.parse_args()
    handler = functools.partial(Quiet, directory=str(asked.folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked.chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        found = measured(page, f"http://127.0.0.1:{server.server_port}/", asked)
        browser.close()
    here = Here(asked.folder)
    found["against llama.cpp here"] = here.compared([(PROMPT, found["replies"][0])])
    if asked.long:
        found["a long conversation"] = here.compared(found.pop("talk"))
    here.close()
    found["load"] = os.getloadavg()[0]
    print(json.dumps(found, ensure_ascii=False))


def measured(page: Page, address: str, asked: argparse.Namespace) -> dict[str, Any]:
    """What a visitor would see."""
    elsewhere: list[str] = []
    local = (address, "blob:", "data:")
    page.on("request", lambda request: None if request.url.startswith(local) else elsewhere.append(request.url))
    threads = f"&threads={asked.threads}" if asked.threads else ""
    page.goto(f"{address}?engine={asked.engine}{threads}")
    start = page.get_by_role("button", name="Start")
    start.wait_for()
    said = start.inner_text()
    begun = time.perf_counter()
    start.click()
    field = page.locator("textarea")
    page.locator("textarea, .fault").first.wait_for(timeout=300_000)
    if page.locator(".fault").count():
        raise SystemExit(page.locator(".fault").inner_text())
    ready = time.perf_counter() - begun
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Temperature").fill("0")
    page.keyboard.press("Escape")
    replies, speeds = [], []
    for number in range(asked.repeats):
        if number:
            page.get_by_role("button", name="New conversation").click()
        field.fill(PROMPT)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Another reply").wait_for(timeout=600_000)
        replies.append(page.locator(".turn.theirs .words").last.inner_text())
        page.get_by_role("button", name="Settings").click()
        speeds.append(float(re.findall(r"([\d.]+) tokens a second", page.locator("dialog").inner_text())[0]))
        page.keyboard.press("Escape")
        print(f"{speeds[-1]} tokens a second", file=sys.stderr)
    talk = long_talk(page, asked.long) if asked.long else []
    if asked.pictures:
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("button", name="Back to the run's own").click()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="New conversation").click()
        for number, words in enumerate(asked.ask, 1):
            field.fill(words)
            page.keyboard.press("Enter")
            page.locator(".turn.mine").nth(number - 1).wait_for()
            page.get_by_role("button", name="Another reply").wait_for(timeout=600_000)
        pictures(page, asked.pictures)
    return {
        "engine": asked.engine,
        "threads": asked.threads or page.evaluate("navigator.hardwareConcurrency - 1"),
        "threads can be had": page.evaluate("crossOriginIsolated"),
        "button": said,
        "seconds to the first chat": round(ready, 1),
        "tokens a second": statistics.median(speeds),
        "replies": replies,
        **({"talk": talk} if talk else {}),
        "requests to other hosts": elsewhere,
    }


def pictures(page: Page, folder: Path) -> None:
    """The conversation as it stands, wide and narrow, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in {"desk": (1440, 900), "phone": (390, 844)}.items():
        page.set_viewport_size({"width": size[0], "height": size[1]})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.wait_for_timeout(600)
            page.screenshot(path=folder / f"page-{name}{'-dark' if scheme == 'dark' else ''}.png")


def long_talk(page: Page, tokens: int) -> list[tuple[str, str]]:
    """Questions and replies of one conversation of at least so many tokens, reckoned as four letters each."""
    page.get_by_role("button", name="New conversation").click()
    talk: list[tuple[str, str]] = []
    while sum(len(asked) + len(reply) for asked, reply in talk) < 4 * tokens:
        asked = LONG.format(THINGS[len(talk) % len(THINGS)])
        page.locator("textarea").fill(asked)
        page.keyboard.press("Enter")
        page.locator(".turn.theirs").nth(len(talk)).wait_for()
        page.get_by_role("button", name="Another reply").wait_for(timeout=600_000)
        talk.append((asked, page.locator(".turn.theirs .words").nth(len(talk)).inner_text()))
        print(f"turn {len(talk)}: {talk[-1][1]}", file=sys.stderr)
    return talk


class Here:
    """The GGUF file of an exported page in llama.cpp on this machine."""

    def __init__(self, folder: Path) -> None:
        from personatune.export import pieces
        from personatune.export.llama_cpp import LlamaCpp
        from personatune.models.light_tokenizer import LightTokenizer

        self._character = json.loads((folder / "page.json").read_text("utf-8"))["characters"][0]
        home = folder / "characters" / self._character["name"]
        with tempfile.TemporaryDirectory() as scratch:
            self._model = LlamaCpp(pieces.whole(home / "model-q8_0.gguf", Path(scratch)))
        self._tokenizer = LightTokenizer(home / "onnx")

    def close(self) -> None:
        self._model.close()

    def compared(self, talk: list[tuple[str, str]]) -> dict[str, Any]:
        """Which tokens of a page's replies, and their ends, are not the likeliest here after the same tokens.

        `first turn at` is None where every one is. `behind by` lists, for those that are not, by how many logits.
        """
        from personatune.conversation import Message
        from personatune.data.render import encode, prompt_text

        system = self._character["system"]
        messages = [Message(role="system", content=system)] if system else []
        behind: list[float] = []
        tokens, first, prompt = 0, None, []
        for asked, reply in talk:
            messages.append(Message(role="user", content=asked))
            prompt = list(encode(self._tokenizer, prompt_text(self._tokenizer, messages)))
            for token, best, gap in self._steps(prompt, list(encode(self._tokenizer, reply))):
                if token != best:
                    behind.append(round(gap, 4))
                    first = tokens if first is None else first
                tokens += 1
            messages.append(Message(role="assistant", content=reply))
        read = {"turns": len(talk), "tokens of replies": tokens, "tokens of the last prompt": len(prompt)}
        return {**read, "first turn at": first, "not the likeliest": len(behind), "behind by": behind}

    def _steps(self, prompt: list[int], reply: list[int]) -> Iterator[tuple[int, int, float]]:
        """Of every token of a reply, and of its end: the token, the likeliest one here, how many logits lie between."""
        stops = set(self._character["stop_ids"])
        parameters = self._character["parameters"]
        penalty, least = parameters["repetition_penalty"], parameters["min_new_tokens"]
        scores, seen = self._model.read(prompt), set(prompt)
        for place in range(len(reply) + 1):
            row, ids = scores.astype("float64"), sorted(seen - stops)
            row[ids] = [value / penalty if value > 0 else value * penalty for value in row[ids]]
            if place < least:
                row[list(stops)] = -float("inf")
            best = int(row.argmax())
            ended = place == len(reply)
            token = (best if best in stops else max(stops, key=lambda stop: row[stop])) if ended else reply[place]
            yield token, best, float(row[best] - row[token])
            if not ended:
                seen.add(token)
                scores = self._model.add(token)


if __name__ == "__main__":
    main()
