"""The target onnx: a folder that Transformers.js runs in a browser, and onnxruntime anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from personatune import files
from personatune.data.render import encode
from personatune.errors import ModelError
from personatune.export import onnx_model, stepping
from personatune.export.hf import generation_config
from personatune.export.onnx_rows import Rows
from personatune.export.parity import EXACT, NEAR, Speaker
from personatune.export.stepping import Wanted
from personatune.export.target import Target, Work
from personatune.generation.onnx import INSTALL, Graph, open_session
from personatune.generation.onnx import missing as engine_missing
from personatune.models.gguf_file import Stage
from personatune.models.light_tokenizer import LightTokenizer


class OnnxModel:
    """An ONNX folder in onnxruntime, asked as parity asks."""

    def __init__(self, folder: Path, form: Literal["q8", "f32"]) -> None:
        path = folder / "onnx" / onnx_model.FILES[form]
        self.tokenizer = LightTokenizer(folder)
        stops = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
        self._stop_ids = frozenset(stops if isinstance(stops, list) else [stops])
        session = open_session(path)
        self._graph: Graph | None = Graph(session)
        self._rows = Rows(session)
        self._path = path
        self._whole: Graph | None = None

    def token_ids(self, text: str) -> list[int]:
        """Token ids of text that may hold control strings."""
        return encode(self.tokenizer, text)

    def ends(self, token: int) -> bool:
        """Whether a reply ends at this token."""
        return token in self._stop_ids

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        """What the model expects after each of `positions` (ascending) of `ids`, (positions, vocabulary)."""
        if self._whole is None:  # the file gives the last position alone
            graph = onnx_model.all_positions(self._path)
            self._whole = Graph(open_session(graph, weights=self._path.parent))
        self._whole.begin()
        last = positions[-1] + 1
        return self._whole.read(ids[:last])[list(positions)]

    def begin(self, prompts: Sequence[Sequence[int]], _room: int) -> NDArray[np.float32]:
        """Read prompts, (prompts, vocabulary)."""
        return self._rows.begin(prompts)

    def go_on(self, tokens: Mapping[int, int]) -> NDArray[np.float32]:
        """Add a token to each prompt whose number is in `tokens`, ascending, (tokens, vocabulary)."""
        return self._rows.go_on(tokens)

    def stopped(self, wanted: Sequence[Wanted], stop_ids: Sequence[int]) -> int:
        """How many of these replies end by themselves, drawn as we draw."""
        return stepping.stopped(self, wanted, stop_ids, stop_ids)

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Begin anew with `ids`; what the model expects after the last of them, (vocabulary,)."""
        self._open.begin()
        row: NDArray[np.float32] = self._open.read(ids)[-1]
        return row

    def add(self, token: int) -> NDArray[np.float32]:
        """Go on by one token; what the model expects after it."""
        row: NDArray[np.float32] = self._open.read([token])[-1]
        return row

    def close(self) -> None:
        """Give the memory back."""
        self._graph = self._whole = None
        self._rows.close()

    @property
    def _open(self) -> Graph:
        if self._graph is None:
            raise ValueError("this model was closed")
        return self._graph


def write(work: Work, folder: Path, on_stage: Stage) -> None:
    """Graph and weights, config, tokenizer, chat template, and the generation config with the run's parameters."""
    onnx_model.write(work.merged.folder, folder, cast(onnx_model.Form, work.quantization), on_stage)
    onnx_model.copy_words(work.merged.folder, folder)
    files.write_json(folder / "generation_config.json", generation_config(work))


def _check(work: Work) -> None:
    if reason := onnx_model.missing():
        raise ModelError(f"an ONNX file cannot be made: {reason.partition(': ')[0]}", fix=reason.partition(": ")[2])
    if reason := onnx_model.unknown(work.merged.config):
        raise ModelError(reason, where=work.merged.folder, fix="export it as: --to hf")


def _reload(work: Work, folder: Path) -> Speaker | None:
    return None if engine_missing() else OnnxModel(folder, cast(onnx_model.Form, work.quantization))


def _octets(work: Work) -> int:
    size = work.merged.weights.stat().st_size  # of fp32
    return (size if work.quantization == "f32" else size * 9 // 32) + 60_000_000


def _after(work: Work, folder: Path) -> list[str]:
    dtype = "q8" if work.quantization == "q8" else "fp32"
    return [f'pipeline("text-generation", "{folder.name}", {{ dtype: "{dtype}" }})   (in a page, with Transformers.js)']


TARGET = Target(
    name="onnx",
    limits={"q8": NEAR, "f32": EXACT},
    write=write,
    reload=_reload,
    octets=_octets,
    missing=INSTALL,
    check=_check,
    after=_after,
)
