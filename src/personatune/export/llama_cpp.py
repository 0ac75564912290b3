"""A GGUF file in llama.cpp, asked as parity asks: through the library inside the package xllamacpp.

The package offers a server, which has no logits. Its compiled module exports llama.cpp's C functions all the same;
they are called here through ctypes. Two structures that change between versions are handled as opaque bytes, and
the few fields that are touched are checked against their defaults first.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personatune.errors import ModelError
from personatune.export import stepping
from personatune.export.stepping import Wanted

CHUNK = 64
"""Tokens read at once: the logits of 64 positions over 262,144 tokens are 64 MiB."""
PAGE = 256
"""llama.cpp gives each text's memory a multiple of so many tokens."""
_DEFAULTS = (512, 2048, 512, 1)
"""What the first fields of the context parameters are unless told otherwise: context, batch, micro-batch, sequences."""


class _Opaque(ctypes.Structure):
    _fields_ = [("words", ctypes.c_uint32 * 256)]  # more than either structure has: the rest is never read


class _Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_model_default_params": (_Opaque, []),
    "llama_context_default_params": (_Opaque, []),
    "llama_model_load_from_file": (ctypes.c_void_p, [ctypes.c_char_p, _Opaque]),
    "llama_init_from_model": (ctypes.c_void_p, [ctypes.c_void_p, _Opaque]),
    "llama_model_get_vocab": (ctypes.c_void_p, [ctypes.c_void_p]),
    "llama_vocab_n_tokens": (ctypes.c_int32, [ctypes.c_void_p]),
    "llama_vocab_is_eog": (ctypes.c_bool, [ctypes.c_void_p, ctypes.c_int32]),
    "llama_tokenize": (
        ctypes.c_int32,
        [
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_int32,
            ctypes.POINTER(ctypes.c_int32),
            ctypes.c_int32,
            ctypes.c_bool,
            ctypes.c_bool,
        ],
    ),
    "llama_n_ctx": (ctypes.c_uint32, [ctypes.c_void_p]),
    "llama_set_n_threads": (None, [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32]),
    "llama_batch_init": (_Batch, [ctypes.c_int32, ctypes.c_int32, ctypes.c_int32]),
    "llama_batch_free": (None, [_Batch]),
    "llama_decode": (ctypes.c_int32, [ctypes.c_void_p, _Batch]),
    "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), [ctypes.c_void_p, ctypes.c_int32]),
    "llama_get_memory": (ctypes.c_void_p, [ctypes.c_void_p]),
    "llama_memory_clear": (None, [ctypes.c_void_p, ctypes.c_bool]),
    "llama_free": (None, [ctypes.c_void_p]),
    "llama_model_free": (None, [ctypes.c_void_p]),
    "llama_log_set": (None, [ctypes.c_void_p, ctypes.c_void_p]),
}
_SILENT = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda _level, _text, _data: None)
"""llama.cpp tells a terminal everything it does; people are told by us."""


def is_installed() -> bool:
    """Whether there is a llama.cpp to compare in, whose functions can be called."""
    return _library() is not None


class LlamaCpp:
    """A GGUF file, read by llama.cpp on the CPU. Raises `ModelError` when it cannot be."""

    def __init__(self, path: Path, context: int = 4096) -> None:
        library = _library()
        if library is None:
            raise ModelError("llama.cpp is not installed", fix="python -m pip install 'personatune[gguf]'")
        self._library = library
        self._model = library.llama_model_load_from_file(os.fsencode(path), library.llama_model_default_params())
        if not self._model:
            raise ModelError("llama.cpp cannot read the file", where=path, fix="export it again")
        self._side_by_side: Any = None
        self._places: list[int] = []
        self._context = self._opened(context, 1)
        self._vocabulary = library.llama_model_get_vocab(self._model)
        self.size = int(library.llama_vocab_n_tokens(self._vocabulary))
        """How many tokens its vocabulary has."""
        self._batch = library.llama_batch_init(CHUNK, 0, 1)
        self._at = 0

    def token_ids(self, text: str) -> list[int]:
        """Token ids of text that may hold control strings."""
        octets = text.encode("utf-8", "surrogatepass")
        room = (ctypes.c_int32 * (len(octets) + 16))()
        count = self._library.llama_tokenize(self._vocabulary, octets, len(octets), room, len(room), False, True)
        return list(room[:count])

    def ends(self, token: int) -> bool:
        """Whether llama.cpp ends a reply at this token."""
        return bool(self._library.llama_vocab_is_eog(self._vocabulary, token))

    def logits(self, ids: Sequence[int], positions: Sequence[int]) -> NDArray[np.float32]:
        """What is expected after each of `positions` (ascending) of `ids`, (positions, vocabulary)."""
        self._forget()
        return np.stack(self._decode(ids, set(positions)))

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Begin anew with `ids`; what is expected after the last of them, (vocabulary,)."""
        self._forget()
        return self._decode(ids, {len(ids) - 1})[0]

    def add(self, token: int) -> NDArray[np.float32]:
        """Go on by one token; what is expected after it."""
        return self._decode([token], {0})[0]

    def begin(self, prompts: Sequence[Sequence[int]], room: int) -> NDArray[np.float32]:
        """Read prompts, each into a memory of its own that has room for so many tokens more, (prompts, vocabulary)."""
        self._leave()
        each = -(-(max(map(len, prompts)) + room) // PAGE) * PAGE
        self._side_by_side = self._opened(each * len(prompts), len(prompts))
        self._places = [len(prompt) for prompt in prompts]
        context, found = self._side_by_side, []
        for row, prompt in enumerate(prompts):
            ids = list(prompt)
            at = [(token, place, row, place == len(ids) - 1) for place, token in enumerate(ids)]
            found += self._decoded(context, at)
        return np.stack(found)

    def go_on(self, tokens: Mapping[int, int]) -> NDArray[np.float32]:
        """Add a token to each prompt whose number is in `tokens`, ascending, (tokens, vocabulary)."""
        found = self._decoded(
            self._side_by_side, [(token, self._places[row], row, True) for row, token in tokens.items()]
        )
        for row in tokens:
            self._places[row] += 1
        return np.stack(found)

    def stopped(self, wanted: Sequence[Wanted], stop_ids: Sequence[int]) -> int:
        """How many of these replies end by themselves, drawn as llama.cpp draws.

        It has no `min_new_tokens`, and its repetition penalty weighs on stop tokens too, which stand in every prompt.
        """
        free = [Wanted(one.prompt, one.params.model_copy(update={"min_new_tokens": 0})) for one in wanted]
        return stepping.stopped(self, free, stop_ids, spared=())

    def close(self) -> None:
        """Give the memory back."""
        if getattr(self, "_batch", None) is not None:
            self._library.llama_batch_free(self._batch)
            self._batch = None
        self._leave()
        if getattr(self, "_context", None):
            self._library.llama_free(self._context)
            self._context = None
        if self._model:
            self._library.llama_model_free(self._model)
            self._model = None

    def _opened(self, tokens: int, rows: int) -> Any:
        """A context for so many tokens in all, of so many texts."""
        library = self._library
        params = library.llama_context_default_params()
        params.words[0], params.words[1], params.words[2], params.words[3] = tokens, CHUNK, CHUNK, rows
        context = library.llama_init_from_model(self._model, params)
        if not context or library.llama_n_ctx(context) < tokens:
            if context:
                library.llama_free(context)
            self.close()
            raise ModelError(f"llama.cpp cannot open a context of {tokens:,} tokens", fix="free some memory")
        threads = max(1, min(os.cpu_count() or 1, int(os.environ.get("OMP_NUM_THREADS") or 8)))
        library.llama_set_n_threads(context, threads, threads)
        return context

    def _leave(self) -> None:
        """Close what `begin` opened."""
        if getattr(self, "_side_by_side", None):
            self._library.llama_free(self._side_by_side)
            self._side_by_side = None

    def _forget(self) -> None:
        self._library.llama_memory_clear(self._library.llama_get_memory(self._context), True)
        self._at = 0

    def _decode(self, ids: Sequence[int], wanted: set[int]) -> list[NDArray[np.float32]]:
        """Read `ids` after what was read before; the logits after the places in `wanted`."""
        found = self._decoded(self._context, [(token, self._at + at, 0, at in wanted) for at, token in enumerate(ids)])
        self._at += len(ids)
        return found

    def _decoded(self, context: Any, tokens: Sequence[tuple[int, int, int, bool]]) -> list[NDArray[np.float32]]:
        """Read tokens, each with its place, the number of its text, and whether the logits after it are wanted."""
        found, batch = [], self._batch
        for start in range(0, len(tokens), CHUNK):
            part = tokens[start : start + CHUNK]
            for at, (token, place, row, wanted) in enumerate(part):
                batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, place, 1
                batch.seq_id[at][0] = row
                batch.logits[at] = wanted
            batch.n_tokens = len(part)
            if self._library.llama_decode(context, batch) != 0:
                raise ModelError(
                    f"llama.cpp refuses {part[-1][1] + 1} tokens of context",
                    fix="please report this with the model's name",
                )
            for at, (_, _, _, wanted) in enumerate(part):
                if wanted:
                    logits = self._library.llama_get_logits_ith(context, at)
                    found.append(np.array(np.ctypeslib.as_array(logits, (self.size,)), dtype=np.float32))
        return found


@functools.lru_cache(maxsize=1)
def _library() -> Any:
    """llama.cpp's C functions, or None when they are not to be had or not as we know them."""
    found = importlib.util.find_spec("xllamacpp")
    places = [Path(place) for place in found.submodule_search_locations or ()] if found else []
    files = [
        file for place in places for pattern in ("xllamacpp*.so", "xllamacpp*.pyd") for file in place.glob(pattern)
    ]
    for file in files:
        try:
            library = ctypes.CDLL(str(file))
            for name, (result, arguments) in _FUNCTIONS.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        if tuple(library.llama_context_default_params().words[:4]) != _DEFAULTS:
            continue
        library.llama_log_set(ctypes.cast(_SILENT, ctypes.c_void_p), None)
        return library
    return None
