"""Those who vote at the same moment, each with a store of their own, leave each vote once in the ledger."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from personatune.judging.session import Session, Shown
from personatune.store import judgings, ledger
from personatune.store.store import Store
from whole_persona import whole_persona

JUDGES = 6


def test_each_vote_is_noted_once(tmp_path: Path) -> None:
    persona = whole_persona(tmp_path / "dot", votes=1)
    together = threading.Barrier(JUDGES)
    failed: list[BaseException] = []

    def judge(name: str) -> None:
        later = [datetime(2027, 1, 1, tzinfo=UTC)]

        def clock() -> datetime:
            later[0] += timedelta(seconds=10)
            return later[0]

        try:
            together.wait()
            for _ in range(5):
                with Store.open(persona.store_file) as store:  # as each request of a page does
                    session = Session(store, judgings.listed(store)[0], clock)
                    session.begin(name)
                    shown = session.next_pair(name, go_on=True)
                    assert isinstance(shown, Shown)
                    session.vote(shown.key, "left")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=judge, args=(f"Judge {number}",)) for number in range(JUDGES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    lines = ledger.lines_of(ledger.file_of(persona.store_file))
    noted = Counter(vote["id"] for line in lines for vote in line.get("votes", ()))
    assert len(noted) == 1 + 5 * JUDGES
    assert set(noted.values()) == {1}


def test_a_ledger_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    persona = whole_persona(tmp_path / "dot", votes=3)
    path = ledger.file_of(persona.store_file)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]) + b" " * (sum(map(len, lines)) + 10) + b"\n")
    with Store.open(persona.store_file) as store:
        ledger.keep(store)
        assert ledger.behind(store) == (0, 0)
