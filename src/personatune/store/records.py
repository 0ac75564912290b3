"""The rows of the store as frozen models: data versions, runs, evaluations, sweeps, samples, artefacts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from personatune.conversation import Message

RunStatus = Literal["training", "finished", "interrupted", "failed"]
RUN_NAME = r"^r[1-9][0-9]{0,8}$"


def now() -> datetime:
    """The moment a record is made, in UTC."""
    return datetime.now(UTC)


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _storable(text: str) -> str:
    # Half an emoji can come out of a model or a file name; SQLite keeps UTF-8 only.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _as_json(value: object) -> object:
    # Normalised here, so that what is read back equals what was written: tuples are lists, keys are text.
    try:
        return json.loads(json.dumps(value))
    except TypeError as error:
        raise ValueError(f"not JSON: {error}") from error


Moment = Annotated[datetime, AfterValidator(_in_utc)]
"""A moment in UTC; one without a time zone is taken as UTC."""
Text = Annotated[str, AfterValidator(_storable)]
"""Text that UTF-8 can hold; lone surrogates become the replacement character."""
Json = Annotated[dict[str, Any], BeforeValidator(_as_json)]
"""A JSON object, as it will be read back."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # a command meets few of them


class DatasetVersion(_Record):
    """One state of the conversations."""

    id: Text = Field(min_length=1)
    """The hash of its content; the same conversations have the same id wherever they were read."""
    created: Moment = Field(default_factory=now)
    """When it was first recorded."""
    rows: int = Field(ge=0)
    """How many conversations it has."""
    source: Text
    """The file it was read from."""
    parent: Text | None = None
    """The version that it was made from, when personatune made it."""


class RunRecord(_Record):
    """One training."""

    name: str = Field(pattern=RUN_NAME)
    """`r1`, `r2`, ...: given by `Store.next_run_name`, never given twice."""
    created: Moment = Field(default_factory=now)
    """When it began."""
    finished: Moment | None = None
    """When it ended, however it ended; none while it trains."""
    status: RunStatus = "training"
    """How far it came."""
    dataset: Text | None = None
    """The id of the data version it learned from; none only for a run recovered from a bare manifest."""
    model: Text
    """The id of the model it began with."""
    parent: Text | None = None
    """The run whose weights it began with, when it went on from one."""
    manifest: Json = Field(default_factory=dict)
    """All that was chosen and measured, as in the run folder's `manifest.json`."""

    @property
    def number(self) -> int:
        """The 3 of `r3`: runs are listed in this order."""
        return int(self.name[1:])


class EvaluationRecord(_Record):
    """One pass of a suite over some contestants."""

    id: str = ""
    """`e1`, `e2`, ...: assigned by the store when it is added."""
    created: Moment = Field(default_factory=now)
    """When it began."""
    suite: Text
    """The hash of the suite's content."""
    contestants: tuple[Text, ...]
    """Who answered, as `pip@r3`."""
    samples_file: Text | None = None
    """The samples as JSONL, relative to the persona folder."""
    report_file: Text | None = None
    """The report, relative to the persona folder."""
    summary: Json = Field(default_factory=dict)
    """The signals, by contestant."""


class SweepRecord(_Record):
    """One sweep: a plan of parameter points, and what came of it."""

    id: str = ""
    """`w1`, `w2`, ...: assigned by the store when it is added."""
    created: Moment = Field(default_factory=now)
    """When it was planned."""
    contestant: Text
    """Who answers, as `pip@r3`."""
    run: Text | None = None
    """The run that answers; none for untrained contestants."""
    fingerprint: Text
    """The hash of the plan and of the weights that answer: the same command finds its sweep by it."""
    plan: Json
    """What was asked for, as the command or the plan file said it."""
    report_file: Text | None = None
    """The page, relative to the persona folder."""
    summary: Json = Field(default_factory=dict)
    """The signals, by point."""


class PlannedSample(_Record):
    """One reply that a sweep wants, before and after it is made."""

    point: int = Field(ge=1)
    """The number of its parameter point, from 1."""
    case: Text
    """The id of the suite's case."""
    k: int = Field(ge=0)
    """Which of the case's samples, from 0."""
    messages: tuple[Message, ...]
    """The conversation to be answered."""
    seed: int = Field(ge=0, lt=2**63)
    """The seed to draw it with."""
    request: Text
    """The hash of all that the reply follows from: weights, conversation, parameters, seed."""
    sample: Text | None = None
    """The sample's id; none until it is made."""


class SampleRecord(_Record):
    """One generated reply, with all that made it."""

    id: str = ""
    """`s1`, `s2`, ...: assigned by the store. Until then any name that later records added with it have as
    their `parent`."""
    created: Moment = Field(default_factory=now)
    """When it was generated."""
    origin: Text = Field(min_length=1)
    """What it was generated for: probe, evaluate, chat, ..."""
    contestant: Text
    """Who answered, as `pip@r3`."""
    run: Text | None = None
    """The run that answered; none for untrained contestants and real lines."""
    evaluation: Text | None = None
    """The evaluation it belongs to."""
    case: Text | None = None
    """The id of the suite's case."""
    turn: int = Field(1, ge=1)
    """Which of the user's turns it answers, counted from 1."""
    messages: tuple[Message, ...]
    """The conversation that was answered."""
    reply: Text
    """The reply's text."""
    finish_reason: Text
    """`stop` when the model ended its turn itself, `length` when it was cut off."""
    token_ids: tuple[int, ...] = ()
    """The reply's tokens; empty for engines without tokens."""
    parameters: Json = Field(default_factory=dict)
    """The generation parameters."""
    seed: int = Field(0, ge=-(2**63), lt=2**63)
    """The seed it was drawn with."""
    engine: Text | None = None
    """What computed it, where more than one could have: `onnx`, `torch`, or `remote` with the server's address."""
    parent: Text | None = None
    """The sample before it: the turn it follows, or the reply it tries again."""


class ArtefactRecord(_Record):
    """One export of a run."""

    id: str = ""
    """`a1`, `a2`, ...: assigned by the store when it is added."""
    created: Moment = Field(default_factory=now)
    """When it was finished."""
    run: Text
    """The run that it was made from."""
    target: Text
    """What it is for: hf, gguf, ..."""
    quantization: Text
    """The number format of its weights."""
    folder: Text
    """Where it was written; relative to the persona folder when it lies in it."""
    fingerprint: Text
    """The hash of all that it follows from."""
    parity: Json = Field(default_factory=dict)
    """How it compared with the run; empty when it was not compared."""
    manifest: Json = Field(default_factory=dict)
    """All that is known of it, as in its `export.json`."""


class SampleFilter(_Record):
    """Which samples to list; what is left out does not matter."""

    origin: str | None = None
    """What they were generated for."""
    contestant: str | None = None
    """Who answered."""
    run: str | None = None
    """The run that answered."""
    evaluation: str | None = None
    """The evaluation they belong to."""
    case: str | None = None
    """The suite's case."""
    limit: int | None = Field(None, ge=1)
    """Only the latest N; they still come oldest first."""


def flattened(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest's values by dotted key, as `heldout.nll_after`, in their order; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in manifest.items():
        if isinstance(value, dict) and value:
            flat |= {f"{key}.{inner}": found for inner, found in flattened(value).items()}
        else:
            flat[key] = value
    return flat
