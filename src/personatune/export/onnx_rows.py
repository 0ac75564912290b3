"""Several texts side by side in an ONNX file: each with a memory of its own length, filled up on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PAST, _PRESENT = "past_key_values.", "present."


class Rows:
    """A session that goes on with many texts at once."""

    def __init__(self, session: Any) -> None:
        self._session: Any = session
        inputs = {one.name: one for one in session.get_inputs()}
        self._places = "position_ids" in inputs
        self._past = [name for name in inputs if name.startswith(_PAST)]
        self._outputs = ["logits", *(name.replace(_PAST, _PRESENT) for name in self._past)]
        self._shapes = {name: (inputs[name].shape[1], inputs[name].shape[3]) for name in self._past}
        self._memory: list[Any] = []
        self._rows: list[int] = []
        self._lengths = np.zeros(0, np.int64)

    def begin(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Read prompts one by one, (prompts, vocabulary)."""
        from onnxruntime import OrtValue

        self._rows, self._lengths = list(range(len(prompts))), np.array([len(one) for one in prompts], np.int64)
        width, rows = int(self._lengths.max()), []
        memory = [np.zeros((len(prompts), heads, width, size), np.float32) for heads, size in self._shapes.values()]
        for row, prompt in enumerate(prompts):
            self._memory = [
                OrtValue.ortvalue_from_numpy(np.zeros((1, heads, 0, size), np.float32))
                for heads, size in self._shapes.values()
            ]
            mask = np.ones((1, len(prompt)), np.int64)
            rows.append(self._run(np.array([prompt], np.int64), mask, np.arange(len(prompt))[None])[0])
            for whole, one in zip(memory, self._memory, strict=True):
                whole[row, :, : len(prompt)] = one.numpy()[0]
        self._memory = [OrtValue.ortvalue_from_numpy(whole) for whole in memory]
        return np.stack(rows)

    def go_on(self, tokens: Mapping[int, int]) -> NDArray[np.float32]:
        """Add a token to each prompt whose number is in `tokens`, ascending, (tokens, vocabulary)."""
        from onnxruntime import OrtValue

        if 3 * len(tokens) <= 2 * len(self._rows):  # what is left behind costs, and so does to leave it
            kept = [self._rows.index(number) for number in tokens]
            self._memory = [OrtValue.ortvalue_from_numpy(one.numpy()[kept]) for one in self._memory]
            self._rows, self._lengths = list(tokens), self._lengths[kept]
        ids = np.array([[tokens.get(number, 0)] for number in self._rows], np.int64)
        places, self._lengths = self._lengths[:, None], self._lengths + 1
        width = max(int(self._memory[0].shape()[2]) + 1, int(self._lengths.max()))
        mask = (np.arange(width)[None] < self._lengths[:, None]).astype(np.int64)
        found = self._run(ids, mask, places)
        return found if len(found) == len(tokens) else found[[number in tokens for number in self._rows]]

    def close(self) -> None:
        """Give the memory back."""
        self._session, self._memory = None, []

    def _run(self, ids: NDArray[np.int64], mask: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.float32]:
        from onnxruntime import OrtValue

        feed = {
            "input_ids": OrtValue.ortvalue_from_numpy(ids),
            "attention_mask": OrtValue.ortvalue_from_numpy(mask),
            **dict(zip(self._past, self._memory, strict=True)),
        }
        if self._places:
            feed["position_ids"] = OrtValue.ortvalue_from_numpy(np.ascontiguousarray(places, np.int64))
        logits, *self._memory = self._session.run_with_ort_values(self._outputs, feed)
        found: NDArray[np.float32] = logits.numpy()[:, -1]
        return found
