"""Many browsers judge at once against one studio: every confirmed vote is once in the store and once in the ledger."""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from personatune import persona as personas
from personatune.conversation import Message
from personatune.generation.contestant import Contestant
from personatune.generation.scripted import ScriptedEngine
from personatune.judging.beginning import paired
from personatune.judging.plan import JudgingPlan
from personatune.judging.prompts import Asked
from personatune.judging.replies import Making, prepare
from personatune.judging.session import Session
from personatune.persona import Persona
from personatune.store import judgings, ledger
from personatune.store.judging_records import JudgingRecord
from personatune.store.store import Store
from studio_client import TOKEN, studio

_KEY = re.compile(r'name="key" value="([^"]+)"')


@dataclass(frozen=True)
class Crowd:
    """How many judge, how often."""

    browsers: int
    """Browsers at once, each with cookies and a judge of its own."""
    votes: int
    """Votes that each gives."""
    judgings: int = 3
    """Judgings that they are spread over; half of them sit in the first."""
    pause: float = 1.6
    """Seconds that a judge listens; less than 1.5 is too fast to count."""


@dataclass
class Seen:
    """What the browsers saw."""

    confirmed: list[tuple[str, str]] = field(default_factory=list)
    """Each vote that was answered: key, choice."""
    took: dict[str, list[float]] = field(default_factory=lambda: {"vote": [], "next": []})
    """Milliseconds of each answer."""
    wrong: list[str] = field(default_factory=list)
    """Every answer that was none."""


def prepared(place: Path, crowd: Crowd) -> Persona:
    """A persona with judgings whose replies are all made."""
    persona = personas.copy_builtin("pip", place / "pip")
    with Store.open(persona.store_file) as store:
        for number in range(crowd.judgings):
            plan = JudgingPlan.model_validate({"character": "Pip", "seed": number, "parameters": ({}, {})})
            asked = [
                Asked("everyday", (Message(role="user", content=f"What about {at}?"),)) for at in range(crowd.votes * 2)
            ]
            record = JudgingRecord(
                contestants=("pip@base", "pip@prompted"), fingerprint=f"f{number}", plan=plan.model_dump(mode="json")
            )
            judging = judgings.add(store, record, paired(asked, ("base", "prompted"), number))
            session = Session(store, judging)
            made = Making(lambda name: nullcontext(Contestant(f"pip@{name}", ScriptedEngine(_said(name)))))
            prepare(session, made, len(asked))
    return persona


def _said(name: str) -> Any:
    return lambda request: f"{name} says {request.params.seed}. " * 6


def many_browsers(crowd: Crowd, place: Path) -> dict[str, Any]:
    """Judge; return what the browsers saw and what was kept."""
    persona = prepared(place, crowd)
    seen = Seen()
    began = time.perf_counter()
    with studio(persona.folder, place / "studio.txt") as (address, _):
        asyncio.run(_all(address, persona.name, crowd, seen))
    seconds = time.perf_counter() - began
    wrong = [*seen.wrong, *_kept(persona, seen)]
    if "Traceback" in (said := (place / "studio.txt").read_text()):
        wrong.append(f"the studio said: {said[-2000:]}")
    return {
        "part": "browsers",
        "browsers": crowd.browsers,
        "votes": len(seen.confirmed),
        "seconds": round(seconds, 1),
        **{f"{what}_ms": _spread(took) for what, took in seen.took.items()},
        "wrong": len(wrong),
        "first_wrong": wrong[:5],
    }


def _spread(took: list[float]) -> dict[str, float]:
    if len(took) < 2:
        return {}
    return {"median": round(statistics.median(took)), "p99": round(statistics.quantiles(took, n=100)[98])}


async def _all(address: str, name: str, crowd: Crowd, seen: Seen) -> None:
    rooms = [f"j{1 if at % 2 else at // 2 % crowd.judgings + 1}" for at in range(crowd.browsers)]
    async with asyncio.TaskGroup() as group:
        for at, room in enumerate(rooms):
            group.create_task(_judge(address, f"/p/{name}/judge/{room}", f"Judge {at}", crowd, seen))


async def _judge(address: str, room: str, judge: str, crowd: Crowd, seen: Seen) -> None:
    """One browser: sign in, sit down, listen, vote; now and then a vote is sent twice, as a double click does."""
    base = "/".join(address.split("/")[:3])
    dice = random.Random(judge)
    async with httpx.AsyncClient(base_url=base, timeout=120, follow_redirects=True) as client:
        try:
            first = await client.get(address)
            token = TOKEN.search((first if TOKEN.search(first.text) else await client.get("/")).text)
            assert token is not None, first.text[:300]
            client.headers.update({"x-personatune-token": token.group(1), "origin": base})
            sat = await client.post(f"{room}/resume", data={"judge": judge})
            page, client.headers["hx-request"] = sat.text, "true"
            for _ in range(crowd.votes):
                key = _KEY.search(page)
                if key is None:
                    seen.wrong.append(f"{judge}: no pair to vote on: {sat.status_code} {page[-300:]}")
                    return
                await asyncio.sleep(crowd.pause * dice.uniform(0.95, 1.3))
                choice = dice.choice(("left", "right", "tie"))
                sent = {"judge": judge, "key": key.group(1), "choice": choice, "on": "1", "told": "1700"}
                answers = [_timed(client, "POST", f"{room}/vote", sent)]
                if dice.random() < 0.1:
                    answers.append(_timed(client, "POST", f"{room}/vote", sent))
                for answer, took in await asyncio.gather(*answers):
                    seen.took["vote"].append(took)
                    if answer.status_code != 200:
                        seen.wrong.append(f"{judge}: vote: {answer.status_code} {answer.text[:300]}")
                        return
                seen.confirmed.append((key.group(1), choice))
                answer, took = await _timed(client, "GET", f"{room}/next", {"judge": judge, "on": "1", "rested": "1"})
                seen.took["next"].append(took)
                if answer.status_code != 200:
                    seen.wrong.append(f"{judge}: next: {answer.status_code} {answer.text[:300]}")
                    return
                page = answer.text
        except (httpx.HTTPError, AssertionError) as error:
            seen.wrong.append(f"{judge}: {error!r}")


async def _timed(client: httpx.AsyncClient, how: str, path: str, sent: dict[str, str]) -> tuple[httpx.Response, float]:
    began = time.perf_counter()
    answer = await (client.post(path, data=sent) if how == "POST" else client.get(path, params=sent))
    return answer, 1000 * (time.perf_counter() - began)


def _kept(persona: Persona, seen: Seen) -> list[str]:
    """What is wrong with what was kept."""
    with Store.open(persona.store_file) as store:
        rows = store.query("SELECT id, showing, choice FROM judging_votes WHERE showing IS NOT NULL")
        sound = store.query("PRAGMA integrity_check")[0][0]
        lines = [line for line in ledger.lines_of(store.ledger_file) if "votes" in line]
    stored = Counter((row["showing"], row["choice"]) for row in rows)
    noted = Counter((vote["showing"], vote["choice"]) for line in lines for vote in line["votes"])
    wrong = [] if sound == "ok" else [f"the store: {sound}"]
    for where, there in (("store", stored), ("ledger", noted)):
        wrong += [f"{vote} is {there[vote]} times in the {where}" for vote in seen.confirmed if there[vote] != 1]
        extra = [vote for vote in there if vote not in set(seen.confirmed)]
        wrong += [f"{vote} is in the {where} and was never confirmed" for vote in extra]
    ids = Counter(vote["id"] for line in lines for vote in line["votes"])
    wrong += [f"{name} is {count} times in the ledger" for name, count in ids.items() if count != 1]
    return wrong


def main() -> int:
    """Judge with so many browsers: BROWSERS VOTES FOLDER."""
    import sys

    browsers, votes, place = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    found = many_browsers(Crowd(browsers, votes), place)
    print(json.dumps(found, indent=1))
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
