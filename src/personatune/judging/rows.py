"""Everything that is recorded of one judging, read when nobody may be told less any more: after it was closed."""

from __future__ import annotations

from dataclasses import dataclass

from personatune.errors import UsageError
from personatune.judging.ballots import Ballot, ballots
from personatune.judging.order import PairPlace
from personatune.judging.plan import REAL, which
from personatune.store import judgings
from personatune.store.judging_records import JudgeRecord, JudgingRecord, PairRecord, ReasonRecord, ReplyRecord
from personatune.store.records import SampleRecord
from personatune.store.store import Store


@dataclass(frozen=True)
class JudgingRows:
    """Everything that is recorded of one judging."""

    judging: JudgingRecord
    """The contest."""
    pairs: tuple[PairRecord, ...]
    """Its pairs."""
    replies: tuple[ReplyRecord, ...]
    """Their replies."""
    samples: dict[str, SampleRecord]
    """What was said, by id."""
    judges: tuple[JudgeRecord, ...]
    """Who judged."""
    answers: dict[str, list[judgings.Answer]]
    """What each judge was shown and said."""
    reasons: tuple[ReasonRecord, ...]
    """The reasons."""

    @property
    def places(self) -> list[PairPlace]:
        """The pairs as the order sees them."""
        return [PairPlace(pair.number, pair.first, pair.second, pair.state) for pair in self.pairs]

    def ballots(self) -> dict[str, list[Ballot]]:
        """Each judge's standing votes."""
        data = next((at for at, one in enumerate(self.judging.contestants) if which(one) == REAL), None)
        return {
            one.judge: ballots(self.answers[one.judge], self.places, one.judge, data if one.wrote_lines else None)
            for one in self.judges
        }

    def said(self) -> dict[tuple[int, int], SampleRecord]:
        """The sample of each pair and contestant."""
        return {
            (reply.pair, reply.contestant): self.samples[reply.sample]
            for reply in self.replies
            if reply.sample is not None
        }


def read(store: Store, judging_id: str) -> JudgingRows:
    """Everything recorded of a closed judging. Raises `UsageError` while it is open: nobody may know before the end."""
    judging = judgings.get(store, judging_id)
    if judging.closed is None:
        raise UsageError(
            f"judging {judging.id} is still open, and nobody may know who is who before it is closed",
            fix="close it first: personatune judge CONTESTANTS --close",
        )
    judges = judgings.judges(store, judging_id)
    return JudgingRows(
        judging=judging,
        pairs=tuple(judgings.pairs(store, judging_id)),
        replies=tuple(judgings.replies(store, judging_id)),
        samples=judgings.samples(store, judging_id),
        judges=tuple(judges),
        answers={one.judge: judgings.answers(store, judging_id, one.judge) for one in judges},
        reasons=tuple(judgings.reasons(store, judging_id)),
    )
