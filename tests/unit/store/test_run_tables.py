"""Laws of the tables: a missing key is a dash, and only what differs is shown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from store_rows import DATA, run

from personatune.store.lineage import Node
from personatune.terminal.run_tables import diff_table, lineage_tree, run_panel, runs_table

MANIFEST = {
    "run": "r3",
    "persona": "pip",
    "data": {"version": DATA, "file": "train.jsonl", "rows": 111, "train": 100, "heldout": 11},
    "recipe": {"given": {"epochs": 3}, "resolved": {"method": "lora", "epochs": 3, "rank": 16}},
    "model": {"id": "starter", "hash": "a5fd3b62230aa5ec", "folder": "/models/starter"},
    "seed": 0,
    "device": "cpu",
    "dtype": "bfloat16",
    "versions": {"torch": "2.11.0", "peft": "0.21.2"},
    "git": {"commit": "0123456789abcdef", "dirty": True},
    "seconds": {"load": 1.44, "train": 312.4},
    "peak_memory_bytes": 2_900_000_000,
    "parameters": {"total": 268_000_000, "trainable": 3_800_000},
    "epochs": 3,
    "steps": 75,
    "tokens": {"trained": 27_000, "padding": 1_200},
    "loss": {"first": 3.5012, "last": 0.41},
    "heldout": {"conversations": 11, "nll_before": 3.09, "nll_after": 2.214, "best_epoch": 2},
    "stop": {"ids": [1, 106], "probes": 4, "stopped": 4},
    "command": ["personatune", "train", "pip"],
}


def shown(renderable, width=140):
    console = Console(width=width, color_system=None, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(renderable)
    return console.export_text()


def test_the_list_shows_each_run_on_a_line():
    text = shown(runs_table([run("r2"), run("r3", dataset=DATA, status="finished", manifest=MANIFEST)]))
    bare, whole = text.splitlines()[-3:-1]
    assert bare.split()[0] == "r2"
    assert bare.split().count("-") == 6
    for part in ("r3", "finished", "starter", "lora", " 3 ", "3.09 -> 2.21", "4/4", "5:12 min", DATA[:8]):
        assert part in whole


def test_a_narrow_terminal_has_each_run_on_a_line_too():
    text = shown(runs_table([run("r3", dataset=DATA, status="interrupted", manifest=MANIFEST)], 80), 80)
    for part in ("r3", "interrupted", "lora", "3.09 -> 2.21", "4/4"):
        assert part in text.splitlines()[-2]


def test_a_run_in_full_shows_what_its_manifest_has():
    text = shown(run_panel(run("r3", dataset=DATA, manifest=MANIFEST)))
    for part in (
        "pip r3", "train.jsonl, 111 conversations, 100 to learn, 11 held out", "method=lora", "epochs=3",
        "27,000 tokens", "3,800,000 trained of 268,000,000", "3.50 -> 0.41", "3.09 -> 2.21", "[1, 106]",
        "1.4 s to load, 5:12 min to train, 2.9 GB", "0123456789ab with changes", "personatune train pip",
    ):  # fmt: skip
        assert part in text
    assert "held-out" not in shown(run_panel(run("r3")))


def test_a_difference_shows_only_what_differs():
    other = MANIFEST | {"seed": 1, "recipe": {"given": {}, "resolved": MANIFEST["recipe"]["resolved"]}}
    text = shown(diff_table(run("r3", manifest=MANIFEST), run("r4", manifest=other)))
    told = [line.split() for line in text.splitlines()[3:] if line.strip()]
    assert told == [["seed", "0", "1"]], "what was asked for and hashes are left to `runs show`"


def test_two_equal_manifests_do_not_differ():
    same = MANIFEST | {"loss": {"last": math.nan}}
    assert "nothing differs" in shown(diff_table(run("r3", manifest=same), run("r4", manifest=same)))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
any_manifest = st.fixed_dictionaries({}, optional=dict.fromkeys(MANIFEST, anything)) | st.fixed_dictionaries(
    {}, optional={key: st.fixed_dictionaries(dict.fromkeys(value, anything))
                  for key, value in MANIFEST.items() if isinstance(value, dict)}
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(a=any_manifest, b=any_manifest)
def test_no_manifest_breaks_a_table(a, b):
    one, two = run("r1", manifest=a), run("r2", manifest=b, dataset="[bold]", model="[/]")
    for renderable in (runs_table([one, two]), run_panel(one), run_panel(two), diff_table(one, two)):
        shown(renderable)


def node(kind, name, depth, *reached_from, about=""):
    return Node(kind=kind, id=name, depth=depth, reached_from=reached_from, about=about)


def test_a_tree_follows_each_thing_once():
    text = shown(
        lineage_tree(
            [
                node("sample", "s2", 0, about="pip@r1: [b]Hi\x1b[31m"),
                node("sample", "s1", 1, "s2"),
                node("run", "r1", 2, "s1", "s2"),
                node("data", DATA, 3, "r1", about="111 conversations of train.jsonl"),
            ]
        )
    )
    assert text.splitlines()[0].startswith("sample s2  pip@r1: [b]Hi [31m")
    assert text.count(DATA[:12]) == 1
    assert text.count("run r1") == 2
    assert text.count("followed above") == 1


def test_many_of_a_kind_are_one_branch_and_lose_no_ancestor():
    samples = [node("sample", f"s{at}", 1, "e1") for at in range(1, 121)]
    runs = [
        node("run", "r3", 2, *(f"s{at}" for at in range(1, 61))),
        node("run", "r4", 2, *(f"s{at}" for at in range(61, 121))),
    ]
    text = shown(lineage_tree([node("evaluation", "e1", 0), *samples, *runs]))
    assert "120 samples  s1 to s120" in text
    assert "run r3" in text
    assert "run r4" in text
    assert len(text.splitlines()) == 4


def test_a_long_chain_and_no_nodes_are_drawn():
    chain = [node("sample", "s1", 0)]
    chain += [node("sample", f"s{at}", at, f"s{at - 1}") for at in range(2, 1_500)]
    assert lineage_tree(chain)
    assert "nothing" in shown(lineage_tree([]))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, True, "fast"])
def test_odd_numbers_are_shown_or_dashed(value):
    text = shown(runs_table([run(manifest={"seconds": {"train": value}, "stop": {"probes": value}})]))
    assert "r1" in text
