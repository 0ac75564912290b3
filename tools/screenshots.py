"""Take the pictures of docs/screenshots again: every page of the studio, with an example that is made here.

    make screenshots                                # or: python tools/screenshots.py [NAME ...]

The example is Pip after some days of work. Its replies are written by hand (tests/web/scripted_pip.py), its runs are
those of a tiny random model whose figures are then replaced by plausible ones: the pictures show pages, not results.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "web"), str(ROOT / "tests")]
PLACE = ROOT / "docs" / "screenshots"
LARGEST = 4 << 20
"""Bytes that the folder may have: it travels with every clone."""
WIDTHS = {"desk": (1440, 900), "phone": (390, 844)}
TALLEST = 1700
"""Pixels of a page that a picture shows at most."""


def main() -> None:
    """Make the example, serve it, and take the pictures that are asked for, or all."""
    from playwright.sync_api import sync_playwright

    asked = sys.argv[1:]
    PLACE.mkdir(parents=True, exist_ok=True)
    with example() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=["--headless", "--no-sandbox"])
        for name, scheme, width, path, prepare in pictures():
            file = PLACE / f"{name}-{width}{'-dark' if scheme == 'dark' else ''}.webp"
            if asked and not any(file.stem.startswith(one) for one in asked):
                continue
            across, down = WIDTHS[width]
            context = browser.new_context(
                viewport={"width": across, "height": down}, color_scheme=scheme, locale="en-GB",
                device_scale_factor=1 if width == "desk" else 2,
            )  # fmt: skip
            page = context.new_page()
            page.goto(url + path)
            prepare(page)
            _take(page, file)
            context.close()
            print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1024:.0f} KB")
        browser.close()
    size = sum(file.stat().st_size for file in PLACE.iterdir())
    if size > LARGEST:
        sys.exit(f"{PLACE} has {size / 2**20:.1f} MiB; at most {LARGEST >> 20} are wanted")


def pictures() -> Iterator[tuple[str, Any, str, str, Callable[[Any], None]]]:
    """Every picture: name, colour scheme, width, URL, and what is done before it is taken."""
    pages: list[tuple[str, str, Callable[[Any], None]]] = [
        ("home", "/", _still),
        ("persona", "/p/pip", _still),
        ("data", "/p/pip/data", _still),
        ("drafts", "/p/pip/data/drafts", _still),
        ("train", "/p/pip/train", _trained),
        ("chat", "/p/pip/chat/new?first=r3&second=base", _talk),
        ("sweep", "/p/pip/sweep", _still),
        ("sweep-result", "/p/pip/sweep/w1", _heard),
        ("compare", "/p/pip/compare/e1", _still),
        ("compare-form", "/p/pip/compare", _still),
        ("judge", "/p/pip/judge", _still),
        ("judge-pair", "/p/pip/judge/j2/sit?judge=Ada", _still),
        ("judge-result", "/p/pip/judge/j1", _still),
        ("runs", "/p/pip/runs", _still),
        ("run", "/p/pip/runs/r3", _still),
        ("runs-diff", "/p/pip/runs/diff?a=r1&b=r3", _still),
        ("export", "/p/pip/export", _still),
        ("queue", "/queue", _still),
    ]
    dark = {"home", "train", "chat", "judge-pair", "judge-result", "sweep-result"}
    for name, path, prepare in pages:
        for width in WIDTHS:
            yield name, "light", width, path, prepare
        if name in dark:
            yield name, "dark", "desk", path, prepare


def _still(page: Any) -> None:
    from watching import settle

    settle(page)
    page.wait_for_timeout(400)


def _trained(page: Any) -> None:
    page.wait_for_function("() => !document.querySelector('#estimate.htmx-request')", timeout=120_000)
    _still(page)


def _talk(page: Any) -> None:
    for said in ("Ugh, it's pouring down outside and my walk is cancelled.", "You're a chatbot, aren't you?"):
        before = page.locator(".answer:not(.live)").count()
        page.get_by_label("What you say").fill(said)
        page.get_by_role("button", name="Say it").click()
        page.wait_for_function(
            "(before) => document.querySelectorAll('.answer:not(.live)').length === before + 2"
            " && !document.querySelector('.answer.live')",
            arg=before,
        )
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    _still(page)


def _heard(page: Any) -> None:
    _still(page)
    page.get_by_role("button", name="Read its replies").nth(1).click()
    page.locator("#replies .reply-card").first.wait_for()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    _still(page)


def _take(page: Any, file: Path) -> None:
    """The page from its top, as far down as a picture shows, in few bytes."""
    from PIL import Image

    width, height = page.viewport_size["width"], page.evaluate("document.documentElement.scrollHeight")
    tall = max(page.viewport_size["height"], min(height, TALLEST))
    page.set_viewport_size({"width": width, "height": tall})
    page.wait_for_timeout(500)
    taken = Image.open(BytesIO(page.screenshot()))
    taken.convert("RGB").save(file, "WEBP", quality=72, method=6)


def _chromium() -> str | None:
    named = os.environ.get("PERSONATUNE_CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


# --- the example --------------------------------------------------------------------------------------------


@contextmanager
def example() -> Iterator[str]:
    """The studio of the example workspace, as its address."""
    import workspaces
    from studio_process import StudioProcess

    import tiny_models
    from personatune import persona as personas
    from personatune import settings

    with tempfile.TemporaryDirectory() as scratch:
        home, folder = Path(scratch) / "home", Path("/tmp/characters")  # the pictures show where it lies
        folder.mkdir()  # one that is there is left alone: this fails
        home.mkdir()
        models = settings.cache_folder() / "models"
        if models.is_dir():  # the starter model, unpacked already: the estimate measures it
            (home / "models").symlink_to(models)
        os.environ["PERSONATUNE_HOME"] = str(home)
        model = tiny_models.build_gemma(Path(scratch) / "gemma-3-270m")
        personas.copy_builtin("keeper", folder / "keeper")
        pip = workspaces.make_pip(folder / "pip", model, rows=303)
        workspaces.command(folder, "train", "pip")
        workspaces.command(folder, "train", "pip", "--epochs", "2", "--from", "r1")
        workspaces.command(folder, "train", "pip", "--epochs", "3", "--seed", "1")
        with workspaces.scripted_contestants():
            workspaces.command(folder, "sweep", "pip@r3", "--temperature", "0.4", "0.8", "1.3", "--top-p", "0.8", "1",
                               "--prompts", "8", "--samples", "2")  # fmt: skip
            workspaces.command(folder, "compare", "pip@base", "pip@r1", "pip@r3", "--prompts", "8", "--samples", "1")
        workspaces.judged(pip, ["r1", "r3"], ("Ada", "Ben"), votes=38).close()
        workspaces.judged(pip, ["r3", "prompted"], ("Ada",), votes=7)
        workspaces.draft(pip)
        _retouch(pip.folder)
        studio = StudioProcess(folder, home).start()
        try:
            yield studio.url
        finally:
            studio.stop()
            shutil.rmtree(folder)


_RUNS = {"r1": (1, 3.42, 2.71, 118.0), "r2": (2, 2.71, 2.52, 231.0), "r3": (3, 3.42, 2.31, 346.0)}
"""Epochs, held-out loss before and after, seconds: made up, as on a small computer."""


def _retouch(folder: Path) -> None:
    """Give the runs of a tiny random model the name and the figures that a real one would have."""
    text = (folder / "persona.toml").read_text("utf-8")
    (folder / "persona.toml").write_text(text.partition("\n[training]")[0] + "\n", "utf-8")
    record = sqlite3.connect(folder / ".personatune" / "store.db")
    for name, (epochs, before, after, seconds) in _RUNS.items():
        place = folder / "runs" / name
        made = json.loads((place / "manifest.json").read_text("utf-8"))
        steps = 68 * epochs
        made["model"] |= {"id": "starter/gemma-3-270m"}
        made["heldout"] |= {"nll_before": before, "nll_after": after, "best_epoch": float(epochs)}
        made["seconds"] |= {"train": seconds, "load": 1.4}
        made |= {"steps": steps, "steps_done": steps, "stop": {"probes": 12, "stopped": 12}}
        made["recipe"]["resolved"] |= {
            "epochs": epochs,
            "lora_rank": 16,
            "batch_size": 4,
            "model": "starter/gemma-3-270m",
        }
        (place / "manifest.json").write_text(json.dumps(made, indent=2), "utf-8")
        (place / "metrics.jsonl").write_text("".join(_curve(name, epochs, steps, before, after)), "utf-8")
        days = 4 - int(name[1:])
        created = (datetime.now(UTC) - timedelta(days=days, hours=3)).isoformat()
        record.execute("UPDATE runs SET manifest = ?, model = ?, created = ? WHERE name = ?",
                       (json.dumps(made), "starter/gemma-3-270m", created, name))  # fmt: skip
    _probes(record)
    record.commit()
    record.close()
    before = (datetime.now() - timedelta(days=9)).timestamp()
    for file in ("train.jsonl", "suite.yaml", "persona.toml"):
        os.utime(folder / file, (before, before))


def _probes(record: sqlite3.Connection) -> None:
    """What the runs said first, in words."""
    from scripted_pip import answer

    from personatune.conversation import Message
    from personatune.generation.engine import Request
    from personatune.generation.params import GenerationParams

    for key, run, messages in record.execute("SELECT id, run, messages FROM samples WHERE origin = 'probe'").fetchall():
        said = tuple(Message(**message) for message in json.loads(messages))
        reply = answer(Request(messages=said, params=GenerationParams(seed=hash(key) % 99)), run)
        record.execute("UPDATE samples SET reply = ?, finish_reason = 'stop' WHERE id = ?", (reply, key))


def _curve(name: str, epochs: int, steps: int, before: float, after: float) -> Iterator[str]:
    chance = random.Random(name)
    for step in range(1, steps + 1):
        share = step / steps
        loss = after - 0.15 + (before - after + 0.2) * math.exp(-4.5 * share) + chance.gauss(0, 0.11)
        row = {"step": step, "epoch": round(epochs * share, 3), "loss": round(loss, 4), "tokens_per_second": 640.0}
        yield json.dumps(row) + "\n"
        if step % (steps // (2 * epochs)) == 0:
            held = after + (before - after) * (math.exp(-3.6 * share) - math.exp(-3.6))
            yield json.dumps({"step": step, "epoch": round(epochs * share, 3), "heldout_nll": round(held, 4)}) + "\n"


if __name__ == "__main__":
    main()
