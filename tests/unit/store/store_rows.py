"""Rows for the store's tests."""

from __future__ import annotations

from typing import Any

from personatune.conversation import Message
from personatune.store.records import DatasetVersion, EvaluationRecord, RunRecord, SampleRecord

DATA = "3fa2" + "0" * 60


def version(**changes: Any) -> DatasetVersion:
    return DatasetVersion.model_validate({"id": DATA, "rows": 0, "source": "train.jsonl"} | changes)


def run(name: str = "r1", **changes: Any) -> RunRecord:
    return RunRecord.model_validate({"name": name, "model": "starter"} | changes)


def evaluation(**changes: Any) -> EvaluationRecord:
    return EvaluationRecord.model_validate({"suite": "5e", "contestants": ("pip@r1", "pip@base")} | changes)


def sample(**changes: Any) -> SampleRecord:
    given = {
        "origin": "evaluate",
        "contestant": "pip@r1",
        "messages": (Message(role="user", content="Hello"),),
        "reply": "Big paws promise.",
        "finish_reason": "stop",
        "token_ids": (4, 5, 106),
        "parameters": {"temperature": 0.8, "seed": 7},
        "seed": 7,
    }
    return SampleRecord.model_validate(given | changes)
