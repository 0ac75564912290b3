"""An exported page as a visitor meets it: how soon it talks, how fast, and whether it says what the file says.

    python benchmarks/page.py FOLDER [--engine wllama|transformers-wasm] [--repeats 3] [--pictures DIR]

Serves FOLDER (from `personatune export RUN --to web`) as any static host would, opens it in Chromium, lets the engine
pass its self-test, and asks the same thing at temperature 0 several times. Prints JSON: what the button says is
fetched, seconds to the first chat, tokens a second as the page itself counts them (median), every reply, and how long
the reply is what the same GGUF file finds likeliest in llama.cpp here, penalty included: a step may turn where it was
nearly a tie. Needs the extras `dev` and `gguf` and a Chromium.
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
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

PROMPT = "What do you do when it rains all day and nobody comes to visit?"


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
    found["against llama.cpp here"] = compared(asked.folder, found["replies"][0])
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


def compared(folder: Path, reply: str) -> dict[str, Any]:
    """How long the page's reply is what the same GGUF file finds likeliest here, and how near a tie it was left at."""
    from personatune.conversation import Message
    from personatune.data.render import encode, prompt_text
    from personatune.export import pieces
    from personatune.export.llama_cpp import LlamaCpp
    from personatune.models.light_tokenizer import LightTokenizer

    character = json.loads((folder / "page.json").read_text("utf-8"))["characters"][0]
    home = folder / "characters" / character["name"]
    with tempfile.TemporaryDirectory() as scratch:
        model = LlamaCpp(pieces.whole(home / "model-q8_0.gguf", Path(scratch)))
    tokenizer = LightTokenizer(home / "onnx")
    system = [Message(role="system", content=character["system"])] if character["system"] else []
    asked = list(encode(tokenizer, prompt_text(tokenizer, [*system, Message(role="user", content=PROMPT)])))
    said = list(encode(tokenizer, reply))
    penalty = character["parameters"]["repetition_penalty"]
    scores, seen = model.read(asked), set(asked)
    try:
        for number, token in enumerate(said):
            row, ids = scores.astype("float64"), sorted(seen)
            row[ids] = [value / penalty if value > 0 else value * penalty for value in row[ids]]
            best = int(row.argmax())
            if best != token:
                left = {"left at token": number, "there it is behind by": round(float(row[best] - row[token]), 4)}
                return {"tokens": len(said), **left}
            seen.add(token)
            scores = model.add(token)
        return {"tokens": len(said), "left at token": None}
    finally:
        model.close()


if __name__ == "__main__":
    main()
