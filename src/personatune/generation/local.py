"""The engine on this machine: transformers, batched, streaming, every reply with its own chance.

The same seed gives the same reply whatever is generated beside it, bit for bit. Three things see to that.
Each reply draws from its own generator. Prompts are read one at a time and padded on the left to a length
that depends on the prompt alone, and only replies of equal padded length share a batch. And a batch never
has fewer than `MIN_ROWS` rows, because matrix libraries add up in another order for very few rows, and from
then on in the same order (a test compares the replies).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from personatune.data.render import prompt_ids
from personatune.generation.engine import Request, Sample
from personatune.generation.reply import Reply, Speech, in_pieces
from personatune.generation.sampling import next_tokens

MIN_ROWS = 8
MAX_ROWS = 32
PAD_TO = 32
"""Prompts are padded to a multiple of this many tokens."""


class LocalEngine:
    """Generates with a causal model of transformers and its tokenizer, which holds a chat template."""

    name = "torch"

    def __init__(self, model: Any, tokenizer: Any, stop_ids: Sequence[int]) -> None:
        self._model = model.eval()
        self.tokenizer, self.stop_ids = tokenizer, tuple(stop_ids)
        self.context = int(model.config.get_text_config().max_position_embeddings)
        """The most tokens that prompt and reply may have together."""
        self._speech = Speech(tokenizer, self.stop_ids, self.context)

    def generate(
        self, requests: Sequence[Request], *, on_sample: Callable[[int, Sample], None] | None = None
    ) -> list[Sample]:
        """Answer all requests, in batches of equal padded prompt length."""
        samples: dict[int, Sample] = {}
        for batch in self._batches(requests):
            for reply in self._decode(batch):
                if isinstance(reply, Reply):
                    samples[reply.index] = reply.sample()
                    if on_sample:
                        on_sample(reply.index, samples[reply.index])
        return [samples[i] for i in range(len(requests))]

    def stream(self, request: Request) -> Iterator[str | Sample]:
        """Yield text as soon as whole characters are known, then the sample."""
        (batch,) = self._batches([request])
        return in_pieces(batch[0], self._decode(batch))

    def prompt_length(self, request: Request) -> int:
        """How many tokens the conversation so far takes."""
        return len(prompt_ids(self.tokenizer, request.messages))

    def _batches(self, requests: Sequence[Request]) -> list[list[Reply]]:
        groups: dict[int, list[Reply]] = defaultdict(list)
        for index, request in enumerate(requests):
            reply = self._speech.begin(request, index)
            groups[-(-len(reply.prompt) // PAD_TO) * PAD_TO].append(reply)
        batches = []
        for _, group in sorted(groups.items()):
            # Replies of one prompt stay together (it is read once); short limits do not wait for long ones.
            group.sort(key=lambda r: (r.limit, r.prompt, r.index))
            batches += [group[i : i + MAX_ROWS] for i in range(0, len(group), MAX_ROWS)]
        return batches

    @torch.inference_mode()
    def _decode(self, batch: list[Reply]) -> Iterator[Reply | None]:
        """Advance all replies token by token; yield None after each step and every reply when it is finished."""
        padded = -(-len(batch[0].prompt) // PAD_TO) * PAD_TO
        cache, logits = self._read_prompts(batch, padded)
        device = self._model.device
        mask = torch.zeros(len(batch), padded, dtype=torch.int64, device=device)
        for row, reply in enumerate(batch):
            mask[row, padded - len(reply.prompt) :] = 1
        cache, mask, logits = _grow(cache, mask, logits)
        alive: list[Reply | None] = [*batch, *[None] * (len(mask) - len(batch))]
        while True:
            tokens = torch.zeros(len(alive), 1, dtype=torch.int64)
            at_work = [(row, live) for row, live in enumerate(alive) if live is not None]
            rows = [row for row, _ in at_work]
            scores = logits[rows].to("cpu", torch.float32).numpy()
            drawn = next_tokens(scores, [live.draw() for _, live in at_work])
            for (row, live), token in zip(at_work, drawn, strict=True):
                tokens[row] = token
                live.take(token)
                if live.finished:
                    alive[row] = None
                    yield live
            left = [row for row, live in enumerate(alive) if live is not None]
            if not left:
                return
            yield None
            if len(alive) > MIN_ROWS and len(left) <= len(alive) // 2:
                kept = left + [left[0]] * max(0, MIN_ROWS - len(left))
                chosen = torch.tensor(kept, device=device)
                cache.batch_select_indices(chosen)
                mask, tokens = mask[chosen], tokens[torch.tensor(kept)]
                alive = [alive[row] if i < len(left) else None for i, row in enumerate(kept)]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            logits = self._model(
                input_ids=tokens.to(device),
                attention_mask=mask,
                position_ids=mask.sum(1, keepdim=True) - 1,
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]

    def _read_prompts(self, batch: list[Reply], padded: int) -> tuple[Any, Tensor]:
        """Run each distinct prompt once, alone; return one cache with a row for every reply, and its logits."""
        device = self._model.device
        distinct = {tuple(reply.prompt): None for reply in batch}
        caches, logits = [], []
        for prompt in distinct:
            ids = torch.zeros(1, padded, dtype=torch.int64, device=device)
            ids[0, padded - len(prompt) :] = torch.tensor(prompt)
            mask = torch.zeros_like(ids)
            mask[0, padded - len(prompt) :] = 1
            out = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp_min(0),
                use_cache=True,
                logits_to_keep=1,
            )
            caches.append(out.past_key_values)
            logits.append(out.logits[:, -1])
        cache = caches[0]
        for index, layer in enumerate(cache.layers):
            layer.keys = torch.cat([c.layers[index].keys for c in caches])
            layer.values = torch.cat([c.layers[index].values for c in caches])
        place = {prompt: row for row, prompt in enumerate(distinct)}
        rows = torch.tensor([place[tuple(reply.prompt)] for reply in batch], device=device)
        cache.batch_select_indices(rows)
        return cache, torch.cat(logits)[rows]


def _grow(cache: Any, mask: Tensor, logits: Tensor) -> tuple[Any, Tensor, Tensor]:
    """Repeat the first row until there are `MIN_ROWS`; the copies are computed and never read."""
    if len(mask) >= MIN_ROWS:
        return cache, mask, logits
    rows = torch.tensor([*range(len(mask)), *[0] * (MIN_ROWS - len(mask))], device=mask.device)
    cache.batch_select_indices(rows)
    return cache, mask[rows], logits[rows]
