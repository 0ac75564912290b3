from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from personatune.terminal.summary import training_summary

MANIFEST = {
    "run": "r3",
    "persona": "pip",
    "seconds": {"load": 14.2, "train": 251.3},
    "peak_memory_bytes": 2_912_345_678,
    "heldout": {"conversations": 11, "nll_before": 3.09, "nll_after": 2.214, "best_step": 25, "best_epoch": 1.0},
    "stop": {"end_of_turn": 106, "ids": [1, 106], "probes": 12, "stopped": 11},
}


def shown(manifest, persona="pip", width=100):
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(training_summary(manifest, persona))
    return captured.get()


def test_the_summary_says_what_came_of_it_and_what_comes_next():
    text = shown(MANIFEST, "./characters/pip")
    for part in (
        "pip r3",
        "characters/pip/runs/r3",
        "3.09 -> 2.21 nats a token (epoch 1 was kept)",
        "11 of 12 probe replies stopped by themselves",
        "4 min 11 s, after 14 s of preparation",
        "2.9 GB",
        "personatune chat ./characters/pip@r3",
        "personatune evaluate ./characters/pip@r3",
        "personatune runs show ./characters/pip@r3",
    ):
        assert part in text


def test_commands_can_be_pasted_into_a_shell():
    assert "personatune chat 'my robot@r3'" in shown(MANIFEST, "my robot")


def test_a_training_that_did_not_help_says_so():
    assert "no better than before" in shown(MANIFEST | {"heldout": {"nll_before": 2.0, "nll_after": 2.1}})


def test_a_run_that_learned_from_votes_says_what_became_likelier():
    scores = {"pairs": 22, "accuracy_before": 0.5, "accuracy_after": 20 / 22}
    made = MANIFEST | {"preferences": {"n": 24, "train": scores, "heldout": {"pairs": 0}}}
    text = shown(made | {"heldout": {"nll_before": 2.0, "nll_after": 2.1, "best_epoch": 3.0}})

    assert "the liked reply is likelier in 11 -> 20 of 22" in text
    assert "2.00 -> 2.10 nats a token of the character's own unseen lines" in text
    assert "votes held out" not in text


@pytest.mark.parametrize("odd", [None, "a", float("nan"), float("inf"), True, {}])
def test_odd_figures_of_votes_are_left_out(odd):
    scores = {"pairs": 22, "accuracy_before": 0.5, "accuracy_after": 0.6}
    for key in scores:
        assert "likelier" not in shown(MANIFEST | {"preferences": {"train": scores | {key: odd}}})


def test_what_is_not_known_is_left_out():
    text = shown({"run": "r1", "heldout": {"nll_before": None, "nll_after": None}, "stop": {"probes": 0, "stopped": 0}})

    assert "held-out" not in text
    assert "probe" not in text
    assert "personatune chat pip@r1" in text


anything = st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(MANIFEST, anything)))
def test_no_manifest_breaks_it(manifest):
    assert "next:" in shown(manifest)


@pytest.mark.parametrize("width", [1, 10, 40])
def test_a_narrow_terminal_loses_no_command(width):
    assert "personatunerunsshowpip@r3" in "".join(shown(MANIFEST, width=width).split())
