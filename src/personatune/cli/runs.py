"""personatune runs: what was trained, from what, and what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from personatune.cli.console import out, print_json
from personatune.errors import UsageError
from personatune.store.of_persona import open_store
from personatune.store.records import RunRecord

app = App(name="personatune runs", help="What was trained, from what, and what differs.", version_flags=[])
_PAGE = 25
"""Runs listed at once."""
Json = Annotated[bool, Parameter(name="--json", negative="")]


@app.default
@app.command(name="list")
def list_runs(persona: str = ".", /, *, page: int = 1, json_: Json = False) -> None:
    """List a persona's runs, the newest twenty-five; --page 2 has those before them.

    Parameters
    ----------
    persona
        A persona folder; left out, the folder we are in.
    page
        Which twenty-five runs, the newest first.
    json_
        Print a JSON array of the manifests of all runs.
    """
    from personatune.cli.references import open_persona
    from personatune.terminal.run_tables import runs_table

    who = open_persona(persona)
    if not 1 <= page <= 10**6:
        raise UsageError(f"there is no page {page}", fix="--page 1 has the newest runs")
    with open_store(who) as store:
        if json_:
            print_json([run.manifest for run in store.runs()])
            return
        count = len(store.run_names())
        runs = store.runs(latest=_PAGE, but=(page - 1) * _PAGE)
    if not count:
        out().print(f"{who.name} has no runs yet\n  next: personatune train {who.folder}", markup=False)
        return
    if not runs:
        raise UsageError(f"{who.name} has {count} runs: there is no page {page}", fix="--page 1 has the newest runs")
    console = out()
    console.print(runs_table(runs, console.width))
    if count > _PAGE:
        older = f"; older ones: personatune runs {persona} --page {page + 1}" if page * _PAGE < count else ""
        out().print(f"{len(runs)} of {count:,} runs{older}", markup=False)


@app.command
def show(*run: str, json_: Json = False) -> None:
    """Show all that made a run and came of it.

    Parameters
    ----------
    run
        As in pip@r1; or r1 inside the persona's folder.
    json_
        Print the manifest as JSON.
    """
    from personatune.terminal.run_tables import run_panel

    (record,) = _records(run, 1)
    if json_:
        print_json(record.manifest)
    else:
        out().print(run_panel(record))


@app.command
def diff(*runs: str, json_: Json = False) -> None:
    """Show what differs between two runs: recipe, data, model, versions, outcome.

    Parameters
    ----------
    runs
        As in pip@r1 pip@r2; or r1 r2 inside the persona's folder.
    json_
        Print an object of {key: [first, second]}.
    """
    from personatune.store.records import flattened
    from personatune.terminal.run_tables import diff_table

    a, b = _records(runs, 2)
    if json_:
        left, right = flattened(a.manifest), flattened(b.manifest)
        every = (key for key in {**left, **right} if not key.startswith("files."))
        keys = [key for key in every if left.get(key) != right.get(key)]
        print_json({key: [left.get(key), right.get(key)] for key in keys})
    else:
        out().print(diff_table(a, b))


@app.command
def lineage(*thing: str, json_: Json = False) -> None:
    """Show what a run, a reply, a sweep, a judging, an export or a data version was made from, and what from it.

    Parameters
    ----------
    thing
        As in pip@r1 (a run), pip@s12 (a reply), pip@e1 (an evaluation), pip@w1 (a sweep), pip@j1 (a judging),
        pip@a1 (an export), pip@3fa2c1 (a data version, by the beginning of its hash).
    json_
        Print the ancestors and the number of descendants as JSON.
    """
    from personatune.cli.references import parse_things
    from personatune.data.findings import counted
    from personatune.store.lineage import ancestors, descendants, without_samples
    from personatune.terminal.run_tables import KINDS, lineage_tree

    persona, things = parse_things(thing)
    if len(things) != 1:
        raise UsageError("name one thing", fix="as in: personatune runs lineage pip@r1")
    with open_store(persona) as store:
        up, down = ancestors(store, things[0]), descendants(store, things[0])
    if json_:
        print_json({"ancestors": [n.model_dump(mode="json") for n in up], "descendants": len(down) - 1})
        return
    out().print(lineage_tree(up))
    kinds = [node.kind for node in down[1:]]
    if kinds:
        counts = [counted(kinds.count(kind), KINDS.get(kind, kind)) for kind in sorted(set(kinds))]
        out().print(f"\nmade from it: {', '.join(counts)}", markup=False)
    if len(later := without_samples(down)) > 1:
        out().print(lineage_tree(later))


def _records(words: tuple[str, ...], count: int) -> list[RunRecord]:
    from personatune.cli.references import parse_things

    persona, names = parse_things(words or (str(Path()),))
    with open_store(persona) as store:
        if len(names) != count:
            known = ", ".join(f"{persona.name}@{run.name}" for run in store.runs()) or "none yet"
            raise UsageError(f"name {count} run{'s' if count > 1 else ''} of {persona.name}", fix=f"its runs: {known}")
        return [store.run(name) for name in names]
