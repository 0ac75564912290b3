"""Turn tokens that a base model has never learned, and where to start learning them.

A `-pt` model has seen no chat, so the embedding row of its end-of-turn token is what initialisation left
there. In Gemma 3 270M that row has a cosine of over 0.99 with thousands of other rows that were never
trained: as long as it stays, the model cannot say "I have finished" without saying "WordInterval" and
6,000 more with nearly the same probability. Such rows are given a sensible start and trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from personatune.data.render import Rendered

SIMILAR = 0.9
CROWD = 100
ROWS_LOOKED_AT = 20
"""Every conversation holds the same turn tokens."""


@torch.no_grad()
def untrained(embedding: Tensor, token_ids: Sequence[int]) -> list[int]:
    """Those of `token_ids` whose row in `embedding` (vocabulary, hidden) is one of a crowd of look-alikes.

    A trained row has almost no neighbour at a cosine over 0.9; an untrained one has hundreds.
    """
    parts = torch.split(embedding, 16384)  # norms in fp32, without an fp32 copy of the whole embedding
    norms = torch.cat([torch.linalg.vector_norm(part, dim=1, dtype=torch.float32) for part in parts]).clamp_min_(1e-12)
    found = []
    for token in token_ids:
        row = embedding[token].to(torch.float32) / norms[token]
        cosine = (embedding @ row.to(embedding.dtype)).float() / norms
        if int((cosine > SIMILAR).sum()) > CROWD:
            found.append(token)
    return found


@torch.no_grad()
def starting_rows(embedding: Tensor, token_ids: Sequence[int], closing: int, anchors: tuple[int, int]) -> Tensor:
    """Rows to start from, fp32 of shape (len(token_ids), hidden).

    `closing`, the end-of-turn token, starts as the first anchor (the token that ends a document, which the
    model does know); every other turn token starts as the second (a paragraph break).
    """
    end, pause = anchors
    return torch.stack([embedding[end if token == closing else pause] for token in token_ids]).float()


def rows_to_learn(
    model: Any, tokenizer: Any, rendered: Sequence[Rendered], closing: int
) -> tuple[list[int], Tensor] | None:
    """The turn tokens in `rendered` that `model` never learned, with rows to start from; None when it knows them all.

    `closing` is the end-of-turn token. The result's shapes: r token ids, and fp32 rows (r, hidden).
    """
    special = set(tokenizer.all_special_ids) | {
        token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    used = {token_id for row in rendered[:ROWS_LOOKED_AT] for token_id in row.token_ids}
    embedding = model.get_input_embeddings().weight
    unknown = untrained(embedding, sorted(used & special - {tokenizer.bos_token_id}))
    if not unknown:
        return None
    pause = tokenizer("\n\n", add_special_tokens=False)["input_ids"][-1]
    end = tokenizer.eos_token_id if tokenizer.eos_token_id not in (None, *unknown) else pause
    return unknown, starting_rows(embedding, unknown, closing, (end, pause))
