"""What was written, read back and held against the run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from personatune import files
from personatune.errors import ParityError
from personatune.export.staging import STATE
from personatune.export.target import Reader, Target, Work, part_of
from personatune.models.gguf_file import Stage

if TYPE_CHECKING:
    from personatune.export.parity import Parity
    from personatune.export.reference import TorchModel


def compared(work: Work, target: Target, staging: Path, on_stage: Stage) -> dict[str, Parity]:
    """Read back what was written and hold it against the runs; nothing when the program for it is not installed."""
    from personatune.export.parity import Parity

    readers = target.readers_of(work, staging)
    state = json.loads((staging / STATE).read_text(encoding="utf-8"))
    try:
        found = {name: Parity.from_dict(kept) for name, kept in state["parity"].items()}
    except (KeyError, TypeError, AttributeError):
        found = {}
    for at, one in enumerate(work.everyone):
        heard = part_of(on_stage, 0.35 + 0.63 * at / len(work.everyone), 0.35 + 0.63 * (at + 1) / len(work.everyone))
        waiting = [reader for reader in readers if reader.work is one and reader.name not in found]
        for name, parity in _compared_with(one, waiting, target, heard):
            found[name] = parity
            if not parity.failures:
                state["parity"][name] = parity.as_dict()
                files.write_json(staging / STATE, state)
    return {reader.name: found[reader.name] for reader in readers if reader.name in found}


def _compared_with(
    work: Work, readers: Sequence[Reader], target: Target, on_stage: Stage
) -> Iterator[tuple[str, Parity]]:
    """The comparison of each of `readers` with one run, which is read once for all of them."""
    from personatune.export.asked import measure
    from personatune.export.parity import compare
    from personatune.export.texts import texts_for

    if not readers:
        return
    first = readers[0].open()
    if first is None:
        return
    first.close()  # it is there; the run is asked before, so that both are never in memory together
    texts = texts_for(work.persona, work.run, work.params)
    kept = work.merged.folder.with_name(f"{work.merged.folder.name}.measured.json")
    asked = 0.0  # the share of the time that it takes to ask the run: none where what it said is kept

    def hear(what: str, share: float) -> None:
        nonlocal asked
        asked = 0.42
        on_stage(what, asked * share)

    measured = measure(lambda: _in_torch(work), texts, kept, hear)
    for at, reader in enumerate(readers):
        candidate = reader.open()
        if candidate is None:
            continue
        try:
            share = (asked + (1 - asked) * at / len(readers), asked + (1 - asked) * (at + 1) / len(readers))
            heard = _named(part_of(on_stage, *share), reader.name)
            yield reader.name, compare(measured, candidate, target.limits[work.quantization], heard)
        finally:
            candidate.close()


def _in_torch(work: Work) -> TorchModel:
    from personatune.export.reference import TorchModel

    return TorchModel(work.merged.folder)


def _named(on_stage: Stage, name: str) -> Stage:
    return lambda what, share: on_stage(f"{name}: {what}" if name else what, share)


def too_far(work: Work, target: Target, parity: Mapping[str, Parity], staging: Path) -> ParityError:
    """What is said of an export that is not the run."""
    reasons = "\n  ".join(
        f"{name}: {reason}" if name else reason for name, one in parity.items() for reason in one.failures
    )
    return ParityError(
        f"the {target.name} export in {work.quantization} is too far from {work.persona.name}@{work.run}:\n  {reasons}",
        where=staging,
        fix="another --quantization may do; nothing was replaced. If none does, please report it",
    )
