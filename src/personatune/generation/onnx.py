"""The fast engine: onnxruntime on the processor, one reply at a time, without torch.

It draws by the same law as the engine of torch, with the same seeds; its weights have 8 bits, so that probabilities
differ a little and a reply may go another way than there. A reply depends on its conversation, its parameters and its
seed alone: every prompt is read anew, whatever was said before it.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personatune.data.render import Tokenizer, prompt_ids
from personatune.errors import ModelError
from personatune.generation.engine import Request, Sample, one_by_one
from personatune.generation.reply import Reply, Speech, in_pieces
from personatune.generation.sampling import Scores, next_tokens
from personatune.models.light_tokenizer import LightTokenizer

if TYPE_CHECKING:
    import onnxruntime

INSTALL = "python -m pip install 'personatune[onnx]'"
_PAST, _PRESENT = "past_key_values.", "present."
_ROOM = 512
"""Tokens that there is memory for at first; twice as many whenever they are too few."""


def missing() -> str | None:
    """Why there can be no fast engine here, or None. Loads nothing."""
    absent = [name for name in ("onnxruntime", "tokenizers") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} not installed: {INSTALL}" if absent else None


class Graph:
    """A language model in an ONNX file: token ids in, scores of the next token out, its memory kept outside.

    Keys and values stay where they are: every layer reads them from and adds to one piece of memory, larger than what
    was read, which is bound to the session once (`GroupQueryAttention` writes in place where input and output are one).
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        inputs = {one.name: one for one in session.get_inputs()}
        self._places = "position_ids" in inputs
        self._shapes = {name: inputs[name].shape for name in inputs if name.startswith(_PAST)}
        self._memory: dict[str, Any] = {}
        self._read = self._room = 0
        self._make_room(_ROOM)

    def begin(self) -> None:
        """Forget what was read."""
        self._read = 0

    def read(self, token_ids: Sequence[int]) -> Scores:
        """Read some more tokens; the scores that the model gives, (positions or 1, vocabulary)."""
        total = self._read + len(token_ids)
        if total > self._room:
            self._make_room(max(total, 2 * self._room))
        binding = self._binding
        binding.bind_cpu_input("input_ids", np.array([token_ids], dtype=np.int64))
        binding.bind_cpu_input("attention_mask", np.ones((1, total), dtype=np.int64))
        if self._places:
            binding.bind_cpu_input("position_ids", np.arange(self._read, total, dtype=np.int64)[None])
        binding.bind_output("logits")
        self._session.run_with_iobinding(binding)
        self._read = total
        outputs = binding.get_outputs_as_ortvaluevector()
        scores: Scores = outputs[len(outputs) - 1].numpy()[0]  # bound after the memory
        return scores

    def _make_room(self, room: int) -> None:
        """Memory for `room` tokens, with what was read so far."""
        from onnxruntime import OrtValue

        self._binding = self._session.io_binding()
        for name, shape in self._shapes.items():
            empty = np.zeros((1, shape[1], room, shape[3]), np.float32)
            if name in self._memory:
                empty[:, :, : self._read] = self._memory[name].numpy()[:, :, : self._read]
            self._memory[name] = OrtValue.ortvalue_from_numpy(empty)
            self._binding.bind_ortvalue_input(name, self._memory[name])
            self._binding.bind_ortvalue_output(name.replace(_PAST, _PRESENT), self._memory[name])
        self._room = room


class OnnxEngine:
    """Generates with an ONNX file as `export.onnx_model` writes it."""

    name = "onnx"

    def __init__(self, graph: Graph, tokenizer: Tokenizer, stop_ids: Sequence[int], context: int) -> None:
        self._graph = graph
        self.tokenizer, self.stop_ids = tokenizer, tuple(stop_ids)
        self.context = context
        """The most tokens that prompt and reply may have together."""
        self._speech = Speech(tokenizer, self.stop_ids, context)

    def generate(
        self, requests: Sequence[Request], *, on_sample: Callable[[int, Sample], None] | None = None
    ) -> list[Sample]:
        """Answer every request in order."""
        return one_by_one(requests, self._answer, on_sample)

    def stream(self, request: Request) -> Iterator[str | Sample]:
        """Yield text as soon as whole characters are known, then the sample."""
        reply = self._speech.begin(request)
        return in_pieces(reply, self._steps(reply))

    def prompt_length(self, request: Request) -> int:
        """How many tokens the conversation so far takes."""
        return len(prompt_ids(self.tokenizer, request.messages))

    def _answer(self, request: Request) -> Sample:
        reply = self._speech.begin(request)
        for _ in self._steps(reply):
            pass
        return reply.sample()

    def _steps(self, reply: Reply) -> Iterator[None]:
        """Take token after token, and yield after each."""
        self._graph.begin()
        scores = self._graph.read(reply.prompt)
        while True:
            (token,) = next_tokens(scores[-1:], [reply.draw()])
            reply.take(token)
            yield
            if reply.finished:
                return
            scores = self._graph.read([token])


def open_engine(folder: Path) -> OnnxEngine:
    """The engine of an ONNX folder: its model with 8-bit weights, its tokenizer, its stop tokens.

    Raises `ModelError` when the folder is not whole.
    """
    path = folder / "onnx" / "model_quantized.onnx"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        stops = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
        with ThreadPoolExecutor(1) as pool:  # the two take about as long as each other
            opening = pool.submit(open_session, path)
            tokenizer = LightTokenizer(folder)
            graph = Graph(opening.result())
        stop_ids = [int(stop) for stop in (stops if isinstance(stops, list) else [stops])]
        return OnnxEngine(graph, tokenizer, stop_ids, int(config["max_position_embeddings"]))
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise ModelError(
            "the fast engine is damaged", where=folder, fix="delete that folder; it is made again"
        ) from error


def open_session(model: Path | bytes, *, weights: Path | None = None) -> onnxruntime.InferenceSession:
    """A session on the processor for a file, or for a graph in memory whose weights lie in the folder `weights`.

    Raises `ModelError` when onnxruntime cannot read it.
    """
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if weights is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its own have no common parent, and a broken installation has others
        raise ModelError(
            f"onnxruntime cannot read the model: {(str(error).splitlines() or ['?'])[0][:200]}",
            where=None if isinstance(model, bytes) else model,
            fix="make it again; if it stays so, use: --engine torch",
        ) from error
