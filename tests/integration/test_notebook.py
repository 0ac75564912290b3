"""The quickstart notebook runs from top to bottom on a tiny model, in a kernel of its own."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


@pytest.mark.enable_socket  # the kernel is spoken to on this machine
@pytest.mark.filterwarnings("ignore")  # the notebook libraries' own
def test_the_notebook_runs_from_top_to_bottom(tmp_path, tiny_gemma):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = next(n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    small = f'recipe = Recipe(model={str(tiny_gemma)!r}, epochs=1, probes=1, device="cpu", dtype="fp32")\nprompts = 2'
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(small))

    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()

    printed = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    assert "303 conversations" in printed
    assert "w1: 8 of 8 replies" in printed
    assert "r2 went on from r1" in printed
    assert "data" in printed.rsplit("r2", 1)[1]


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    assert [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")] == []
