"""Vote as one judge until so many votes stand: STORE JUDGING JUDGE VOTES LOG HOURS. Every kept vote is logged."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from personatune.judging.session import Session, Shown
from personatune.store import judgings
from personatune.store.store import Store


def main(path: str, judging: str, judge: str, wanted: int, log: str, hours: int) -> None:
    later = timedelta(hours=hours)  # whoever begins again does so later, not in the past of a clock put forward

    def clock() -> datetime:
        return datetime.now(UTC) + later

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Store.open(Path(path)) as store:
        session = Session(store, judgings.get(store, judging), clock)
        session.begin(judge)
        while True:
            standing = [one for one in judgings.answers(store, judging, judge) if one.vote]
            shown = session.next_pair(judge, go_on=True)
            if len(standing) >= wanted or not isinstance(shown, Shown):
                return
            later += timedelta(seconds=5)
            choice = "left" if len(standing) % 3 else "right"
            session.vote(shown.key, choice)
            session.vote(shown.key, "tie")  # as a second tab, or a request that is sent again
            os.write(descriptor, f"{judge} {shown.key} {choice}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5], int(sys.argv[6]))
