"""The result of a judging in the terminal: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from personatune.judging.result import JudgeResult, Result, Standing
from personatune.judging.sentences import remarks, remarks_on_all
from personatune.store.judging_records import JudgingRecord
from personatune.terminal.printable import Fitted, printable


def print_result(result: Result, console: Console) -> None:
    """Everything about a closed judging."""
    console.print(Fitted(Text(printable(result.sentence), style="bold")))
    for judge in result.judges:
        _print_judge(judge, console, named=len(result.judges) > 1)
    for title, sentence in remarks_on_all(result):
        _line(title, sentence, console)


def print_judgings(judgings: Sequence[JudgingRecord], console: Console) -> None:
    """The list of judgings."""
    table = Table()
    for heading in ("judging", "between", "untrained model", "begun", "state"):
        table.add_column(heading)
    for one in judgings:
        state = "open" if one.closed is None else f"closed {one.closed:%Y-%m-%d}"
        between, model = printable(", ".join(one.contestants)), printable(str(one.plan.get("model") or "-"))
        table.add_row(one.id, between, model, f"{one.created:%Y-%m-%d %H:%M}", state)
    console.print(Fitted(table))


def _print_judge(judge: JudgeResult, console: Console, *, named: bool) -> None:
    if named:
        console.print(Fitted(Text(f"\n{printable(judge.judge)}", style="bold cyan")))
    table = Table()
    for heading in ("contestant", "preferred", "of votes", "when longer", "when shorter"):
        table.add_column(heading, justify="left" if heading == "contestant" else "right")
    several = len(judge.standings) > 2
    if several:
        table.add_column("against the others", justify="right")
    for one in judge.standings:
        cells = [printable(one.contestant), str(one.wins), str(one.votes)]
        cells += [f"{part.count} of {part.of}" if part.of else "-" for part in (one.longer, one.shorter)]
        if several:
            known = one.votes and one.share is not None and one.low is not None and one.high is not None
            cells.append(_with_interval(one) if known else "-")
        table.add_row(*cells)
    console.print(Fitted(table))
    for title, sentence in remarks(judge):
        _line(title, sentence, console)
    if judge.reasons:
        _print_reasons(judge, console)
    if judge.signals:
        _print_signals(judge, console)


def _with_interval(one: Standing) -> str:
    share, low, high = (100 * (part or 0.0) for part in (one.share, one.low, one.high))
    return f"{share:.0f} % ({low:.0f} to {high:.0f})"


def _print_reasons(judge: JudgeResult, console: Console) -> None:
    table = Table(title="Reasons given", title_justify="left", title_style="bold")
    for heading in ("reason", "contestant", "preferred", "passed over", "undecided"):
        table.add_column(heading)
    for one in judge.reasons:
        counts = (one.preferred, one.passed_over, one.undecided)
        table.add_row(one.reason, printable(one.contestant), *(str(count) for count in counts))
    console.print(Fitted(table))


def _print_signals(judge: JudgeResult, console: Console) -> None:
    table = Table(title="How well each signal agreed with these votes", title_justify="left", title_style="bold")
    for heading in ("signal", "r", "interval", "votes"):
        table.add_column(heading, justify="left" if heading == "signal" else "right")
    for one in judge.signals:
        found = (f"{one.r:+.2f}", f"{one.low:+.2f} to {one.high:+.2f}") if one.r is not None else ("-", "-")
        table.add_row(one.title, *found, str(one.n))
    console.print(Fitted(table))


def _line(title: str, sentence: str, console: Console) -> None:
    console.print(Fitted(Text.assemble((f"{title}: ", "bold"), printable(sentence))))
