"""What evaluate, compare and demo share: resolve the contestants, evaluate, keep samples and report."""

from __future__ import annotations

import itertools
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personatune import files, manifest
from personatune.cli.comparing import Comparison, names_with_models, suite_of
from personatune.cli.references import parse, stands_alone
from personatune.cli.servers import with_model
from personatune.data.load import load
from personatune.errors import UsageError
from personatune.evaluation.evaluate import EvaluationOptions, evaluate, parameters_for, refuse_bad_wishes
from personatune.evaluation.learned import learned_by
from personatune.evaluation.report import ReportContext, write_report
from personatune.evaluation.results import Evaluation
from personatune.generation.contestant import Contestant
from personatune.generation.contestants import (
    Asking,
    Opening,
    check,
    compute_for,
    default_params,
    identity,
    is_run,
    open_contestant,
)
from personatune.generation.record import record
from personatune.generation.remembered import RememberedEngine
from personatune.generation.scripted import ScriptedEngine
from personatune.persona import Persona
from personatune.store.lineage import ancestors, without_samples
from personatune.store.of_persona import kept_as, open_store
from personatune.store.records import EvaluationRecord, SampleRecord

if TYPE_CHECKING:
    from rich.console import Console

    from personatune.models.device import DeviceChoice


@dataclass(frozen=True)
class Wish:
    """What should be evaluated, and how."""

    contestants: Sequence[str]
    suite: Path | None
    options: EvaluationOptions
    model: str | None = None
    device: DeviceChoice = "auto"
    report: Path | None = None
    first: int | None = None
    """Ask only so many of the suite's single-turn prompts: a quick look."""
    general: bool = False
    """Ask the general and harmful prompts too, where the untrained base and somebody else are asked."""
    comparison: Comparison | None = None
    """Fewer prompts and another page, for contestants to be seen side by side."""
    asking: Asking = field(default_factory=Asking)
    """How servers are asked."""


@dataclass(frozen=True)
class Kept:
    """An evaluation and where it was written."""

    evaluation: Evaluation
    id: str
    samples_file: Path
    report: Path
    names: Mapping[str, str] = field(default_factory=dict)
    """What people read in place of the contestants' names, where they would not say enough."""

    @property
    def shown(self) -> Evaluation:
        """The evaluation as people read it."""
        return self.evaluation.renamed(self.names)

    def as_json(self) -> dict[str, Any]:
        """What scripts read."""
        shape = self.evaluation.to_json(samples_file=str(self.samples_file), report=str(self.report))
        return {"evaluation": self.id, **shape}


def evaluate_and_keep(wish: Wish, console: Console) -> Kept:
    """Evaluate; write samples as JSONL and into the store, and the report; all names checked before any model loads."""
    from personatune.models import embedder
    from personatune.terminal.evaluation_report import EvaluationProgress, print_signals_off
    from personatune.terminal.training_progress import StageProgress

    persona, names = _contestants(wish.contestants, wish.asking.key_name)
    suite = suite_of(persona, wish.suite, wish.comparison)
    _refuse_folder(wish.report)
    if wish.first is not None:
        single = [case for case in suite.cases if len(case.turns) == 1]
        suite = suite.model_copy(update={"cases": tuple(single[: wish.first])})
    conversations, also_learned = learned_by(persona, [name for name in names if is_run(name)])
    options = wish.options.model_copy(update={"also_learned": tuple(also_learned)})
    compute = compute_for(names, wish.device)
    # A quick look does without the second model.
    missing = None if wish.first is not None else embedder.missing()
    if wish.first is None and missing is None:
        console.print("reading what the questions and answers of the training data are about ...")
        options = options.model_copy(update={"embed": embedder.open_embedder()})
    scratch = persona.store_file.parent / "unfinished"

    options = options.model_copy(update={"general": wish.general and "base" in names and len(names) > 1})
    if wish.general and "base" not in names:
        console.print(
            f"general knowledge and harmful asks are left out: they are compared with {persona.name}@base, which is "
            "not asked here",
            markup=False,
        )

    def opened() -> Iterator[Contestant]:
        for name in names:
            with StageProgress(console) as stages:
                opening = Opening(compute, wish.model, stages, asking=wish.asking)
                contestant = open_contestant(persona, name, opening)
            # What was answered before an interruption is not asked again.
            answered = scratch / f"{identity(persona, name, Opening(compute, wish.model))[:16]}.jsonl"
            yield replace(contestant, engine=RememberedEngine(contestant.engine, answered))
            del contestant  # or two models are in memory while the next one loads

    with EvaluationProgress(console) as progress:
        evaluation = evaluate(opened(), suite, conversations=conversations, options=options, on_progress=progress)
    if missing:
        evaluation = replace(evaluation, off={**evaluation.off, "off_topic": missing})
    print_signals_off(evaluation.off, console)
    kept = _keep(persona, names, evaluation, wish)
    shutil.rmtree(scratch, ignore_errors=True)
    return kept


def refuse_what_would_fail(persona: Persona, wish: Wish) -> None:
    """Raise for a wish, whose contestants need not be there yet, what `evaluate_and_keep` would raise."""
    suite = suite_of(persona, wish.suite, wish.comparison)
    _refuse_folder(wish.report)
    refuse_bad_wishes(suite, load(persona.train_file), wish.options)
    nobody = Contestant(persona.name, ScriptedEngine(lambda _request: ""), default_params(persona))
    parameters_for(nobody, suite, wish.options)


def _refuse_folder(report: Path | None) -> None:
    if report and report.is_dir():
        raise UsageError(f"{report} is a folder", fix=f"--report {report / 'report.html'}")


def _contestants(references: Sequence[str], key_name: str | None) -> tuple[Persona, list[str]]:
    if not references:
        raise UsageError("name at least one contestant", fix="as in: personatune evaluate pip@base pip@r1")
    persona: Persona | None = None
    names: list[str] = []
    for reference in sorted(references, key=stands_alone):  # the persona is known first
        if persona is not None and stands_alone(reference):
            names.append(check(persona, with_model(reference, key_name)))
            continue
        found, which = parse(reference, adopt=True)
        which = with_model(which, key_name)
        if persona is not None and found.folder.resolve() != persona.folder.resolve():
            raise UsageError(
                "contestants of one evaluation belong to one persona", fix="evaluate them one after the other"
            )
        persona = found
        names += ["base", check(found, None)] if which is None else [check(found, which)]
    assert persona is not None
    return persona, list(dict.fromkeys(names))


def _keep(persona: Persona, names: list[str], evaluation: Evaluation, wish: Wish) -> Kept:
    suite, comparison = evaluation.suite, wish.comparison
    runs = [name for name in names if is_run(name)]
    made = {name: manifest.read(persona.runs_folder / name) for name in runs}
    with open_store(persona) as store:
        known = set(store.run_names())
        identifier = store.add_evaluation(
            EvaluationRecord(
                suite=files.sha256_of(Path(suite.path)) if suite.path else files.content_hash(suite.model_dump_json()),
                contestants=tuple(f"{persona.name}@{name}" for name in names),
                summary=evaluation.to_json(),
            )
        )
        evaluation = evaluation.with_ids(store.add_samples(list(_records(evaluation, identifier, known))))
        samples_file = persona.samples_folder / f"{identifier}.jsonl"
        place = persona.runs_folder / runs[-1] if runs else persona.folder
        html = wish.report or (_new_page(persona, identifier) if comparison else place / "report.html")
        evaluation.write_samples(samples_file)
        shown: dict[str, str] = {}
        lineage = without_samples(ancestors(store, identifier))
        context = replace(_context(persona, made), lineage=lineage, reference=_before_at(persona))
        if comparison:
            shown = names_with_models(persona, names, wish.model, always=comparison.name_models)
            context = replace(context, layout="comparison", sheets=tuple(comparison.sheets))
        write_report(html, evaluation.renamed(shown), context)
        store.update_evaluation(
            identifier, samples_file=kept_as(samples_file, persona), report_file=kept_as(html, persona)
        )
    return Kept(evaluation, identifier, samples_file.resolve(), html.resolve(), shown)


def _new_page(persona: Persona, identifier: str) -> Path:
    """A page that is not there yet: after a lost record, numbers begin anew."""
    others = (f"{identifier}-{number}" for number in itertools.count(2))
    names = itertools.chain([identifier], others)
    return next(page for name in names if not (page := persona.comparisons_folder / f"{name}.html").exists())


def _before_at(persona: Persona) -> str:
    """What stands before a reply's number in a command given from here: nothing inside the persona's folder."""
    return "" if persona.folder.resolve() == Path.cwd() else f"{shlex.quote(str(persona.folder))}@"


def _records(evaluation: Evaluation, identifier: str, known_runs: set[str]) -> Iterator[SampleRecord]:
    for result in evaluation.contestants:
        for one in (*result.samples, *result.extra):
            which = one.contestant.rpartition("@")[2]
            yield record(
                one.sample,
                origin="evaluate",
                contestant=one.contestant,
                run=which if which in known_runs else None,
                evaluation=identifier,
                case=one.case,
                turn=one.turn,
            )


def _context(persona: Persona, made: dict[str, dict[str, Any]]) -> ReportContext:
    metrics: list[dict[str, Any]] = []
    if made:
        from personatune.training.checkpoints import read_metrics  # with it comes torch

        metrics = [{**line, "run": name} for name in made for line in read_metrics(persona.runs_folder / name)]
    how: dict[str, Any] = {
        name: {
            "command": m.get("command"),
            "model": m.get("model", {}).get("id"),
            "data": m.get("data"),
            "recipe": m.get("recipe", {}).get("resolved"),
            "held-out nats per token": m.get("heldout"),
            "stopped by themselves": m.get("stop"),
            "device": f"{m.get('device')} in {m.get('dtype')}",
            "seconds": m.get("seconds"),
            "versions": m.get("versions"),
            "git": m.get("git"),
        }
        for name, m in made.items()
    }
    return ReportContext(character=persona.character.name, metrics=metrics, made=how or {"runs": "none: untrained"})
