"""Exports in the store: recorded once each, found again, and known to descend from their run."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_rows import run

from personatune.errors import StoreError, UsageError
from personatune.store import artefacts
from personatune.store.lineage import ancestors, descendants
from personatune.store.records import ArtefactRecord
from personatune.store.store import Store


def artefact(**changes: object) -> ArtefactRecord:
    about: dict[str, object] = {
        "run": "r1",
        "target": "gguf",
        "quantization": "q8",
        "folder": "exports/r1-gguf",
        "fingerprint": "f" * 64,
        "parity": {"kl": 0.003, "greedy": [{"same": 48, "of": 48}]},
        "manifest": {"files": {"model-q8_0.gguf": "a" * 64}},
    }
    return ArtefactRecord.model_validate(about | changes)


def test_what_is_recorded_comes_back(store: Store):
    store.add_run(run())

    assert [artefacts.add(store, artefact()), artefacts.add(store, artefact(target="hf"))] == ["a1", "a2"]
    assert artefacts.get(store, "a2").target == "hf"
    assert artefacts.listed(store) == artefacts.listed(store, "r1")
    assert artefacts.listed(store, "r2") == []
    kept = artefacts.get(store, "a1")
    assert (kept.parity, kept.manifest) == (artefact().parity, artefact().manifest)


def test_an_export_descends_from_its_run_and_its_data(store: Store):
    store.add_run(run())
    artefacts.add(store, artefact())

    assert [node.kind for node in ancestors(store, "a1")][:2] == ["artefact", "run"]
    assert ("artefact", "a1") in {(node.kind, node.id) for node in descendants(store, "r1")}
    assert "gguf, q8 in exports/r1-gguf" in ancestors(store, "a1")[0].about


def test_an_export_of_a_run_that_nobody_knows_is_refused(store: Store):
    with pytest.raises(StoreError):
        artefacts.add(store, artefact(run="r7"))
    assert artefacts.listed(store) == []


def test_an_unknown_export_is_said_to_be_unknown(store: Store, tmp_path: Path):
    with pytest.raises(UsageError, match="no export 'a9'"):
        artefacts.get(store, "a9")
