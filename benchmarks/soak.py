"""Long and large use: many conversations, a store of many runs and samples, and flat memory; sizes are parameters.

`make soak` takes the full sizes and prints one JSON object a part. `--conversations`, `--runs`, `--samples`,
`--rounds`, `--browsers` and `--minutes` make them smaller; `--only` takes some parts.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def timed(into: dict[str, Any], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    into[name] = round(time.perf_counter() - began, 3)


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def conversations(count: int, place: Path) -> dict[str, Any]:
    """Load, check and split so many conversations."""
    from personatune.data.doctor import examine
    from personatune.data.load import load
    from personatune.data.split import split

    path = place / "many.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for at in range(count):
            words = " ".join(f"w{(at * 7 + k * 13) % 9973}" for k in range(12))
            row = [{"role": "user", "content": f"What of {at}, {words[:40]}?"}]
            row.append({"role": "assistant", "content": f"Of {at} I say: {words}."})
            file.write(json.dumps({"messages": row}) + "\n")
    said: dict[str, Any] = {"part": "conversations", "count": count, "mb_of_file": round(path.stat().st_size / 1e6, 1)}
    with timed(said, "load_s"):
        rows = load(path)
    with timed(said, "check_s"):
        examine(rows)
    with timed(said, "split_s"):
        split(rows, heldout_fraction=0.1, seed=0)
    return said | {"peak_mb": peak_mb()}


def store(runs: int, samples: int, place: Path) -> dict[str, Any]:
    """A store of so many runs and samples: how long what pages and commands ask of it takes."""
    from personatune.conversation import Message
    from personatune.persona import create
    from personatune.repair.examine import examine
    from personatune.store import artefacts, judgings, sweeps
    from personatune.store.lineage import ancestors
    from personatune.store.records import DatasetVersion, RunRecord, SampleFilter, SampleRecord
    from personatune.store.store import Store

    line = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    persona = create(place / "dot", display_name="Dot", train_jsonl=line * 8, suite_yaml=None)
    said: dict[str, Any] = {"part": "store", "runs": runs, "samples": samples}
    with Store.open(persona.store_file) as kept, timed(said, "fill_s"):
        kept.add_dataset(DatasetVersion(id="d", rows=0, source="train.jsonl"), [])
        manifest = {"model": {"id": "tiny"}, "status": "finished", "loss": {"first": 4.0, "last": 3.0}}
        for number in range(1, runs + 1):
            kept.add_run(RunRecord(name=f"r{number}", dataset="d", model="tiny", status="finished", manifest=manifest))
        asked = (Message(role="user", content="Hello, how was your day? " * 4),)
        for start in range(0, samples, 10_000):
            kept.add_samples(
                [
                    SampleRecord(
                        origin="chat",
                        contestant=f"dot@r{at % runs + 1}",
                        run=f"r{at % runs + 1}",
                        messages=asked,
                        reply=f"Reply {at}: " + "said at some length. " * 8,
                        finish_reason="stop",
                    )
                    for at in range(start, min(start + 10_000, samples))
                ]
            )
    questions: dict[str, Callable[[Store], object]] = {
        "runs": lambda kept: kept.runs(),
        "recover": lambda kept: kept.recover(persona.runs_folder),
        "latest_of_a_run": lambda kept: kept.samples(SampleFilter(run=f"r{runs // 2}", limit=50)),
        "latest_by_origin": lambda kept: kept.samples(SampleFilter(origin="chat", limit=50)),
        "one_sample": lambda kept: kept.sample(f"s{samples // 2}"),
        "what_made_a_reply": lambda kept: ancestors(kept, f"s{samples // 2}"),
        "lists": lambda kept: (sweeps.listed(kept), judgings.listed(kept), artefacts.listed(kept), kept.evaluations()),
    }
    for name, ask in questions.items():
        with Store.open(persona.store_file) as kept, timed(said, f"{name}_s"):
            ask(kept)
    shutil.rmtree(persona.runs_folder, ignore_errors=True)
    with timed(said, "doctor_s"):
        examine(persona.folder, mend=False)
    said["mb_of_store"] = round(persona.store_file.stat().st_size / 1e6, 1)
    return said | {"peak_mb": peak_mb()}


def talk(rounds: int, place: Path) -> dict[str, Any]:
    """So many replies of a scripted contestant, kept as chat and sweep keep theirs: memory must stay flat."""
    from personatune.conversation import Message
    from personatune.generation.engine import Request
    from personatune.generation.params import GenerationParams
    from personatune.generation.record import record
    from personatune.generation.scripted import ScriptedEngine
    from personatune.store.store import Store

    engine = ScriptedEngine(lambda request: f"To {request.messages[-1].content} I say so.")
    said: dict[str, Any] = {"part": "talk", "rounds": rounds}
    marks = []
    with Store.open(place / ".personatune" / "store.db") as kept, timed(said, "seconds"):
        for at in range(rounds):
            asked = Message(role="user", content=f"number {at}")
            request = Request(messages=(asked,), params=GenerationParams(seed=at))
            made = engine.generate([request])
            kept.add_samples([record(one, origin="chat", contestant="dot@r1", run=None) for one in made])
            if at in (rounds // 4, rounds - 1):
                marks.append(peak_mb())
    return said | {"mb_after_a_quarter": marks[0], "mb_at_the_end": marks[-1]}


def pages(runs: int, samples: int, place: Path) -> dict[str, Any]:
    """Every page of a studio, and `runs` from the shell, on a persona of so many runs and replies."""
    from large_persona import build
    from pages_timed import pages_timed

    return pages_timed(build(place / "keeper", runs, samples), place / "pages.txt") | {"runs": runs, "samples": samples}


def browsers(count: int, votes: int, place: Path) -> dict[str, Any]:
    """So many browsers that judge at once: every confirmed vote is kept once."""
    from many_browsers import Crowd, many_browsers

    return many_browsers(Crowd(count, votes), place / "browsers")


def hours(given: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Chat and sweep for so many minutes: memory, open files, threads and temporary files must stay flat."""
    from long_use import Long, long_use

    if not given.minutes:
        return {"part": "long use", "minutes": 0}
    wanted = Long(given.persona, given.minutes * 60, every=given.every, log=given.log)
    return long_use(wanted, given.log.with_suffix("") if given.log else place / "hours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--browsers", type=int, default=50)
    parser.add_argument("--votes", type=int, default=20, help="votes that each browser gives")
    parser.add_argument("--minutes", type=float, default=0, help="how long to chat and sweep with a real model")
    parser.add_argument("--every", type=float, default=60, help="seconds between two looks at memory meanwhile")
    parser.add_argument("--persona", default="keeper@base", help="with whom: FOLDER@RUN")
    parser.add_argument("--log", type=Path, help="where each look is written, a JSON object a line")
    parser.add_argument("--only", nargs="*", default=("conversations", "store", "pages", "talk", "browsers", "hours"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts: dict[str, Callable[[Path], dict[str, Any]]] = {
            "conversations": lambda place: conversations(given.conversations, place),
            "store": lambda place: store(given.runs, given.samples, place),
            "talk": lambda place: talk(given.rounds, place),
            "pages": lambda place: pages(given.runs, given.samples, place),
            "browsers": lambda place: browsers(given.browsers, given.votes, place),
            "hours": lambda place: hours(given, place),
        }
        for name in given.only:
            print(json.dumps(parts[name](Path(folder))), flush=True)


if __name__ == "__main__":
    main()
