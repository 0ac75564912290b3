"""Vocabulary trimming: keep the tokens that one character in one language needs, and drop the rows of all others.

63 % of Gemma 3 270M is an embedding for 262,144 tokens of a hundred languages. What is kept is closed under the
merges that make it, and every byte is kept, so any text can still be written and read, through smaller pieces
where its own tokens are gone. Pieces are read less well than whole tokens: other languages and rare words suffer.

Beside the tokens of the data, those are kept which a frequency list of the language and the model itself ask for:
the words that it expects in this character's conversations, said or not. For words that the data does not hold, the
second is the better guide by far (docs/experiments.md).
"""

from __future__ import annotations

import io
import json
import statistics
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personatune import files, settings
from personatune.errors import ModelError, RecipeError
from personatune.models.load import Loaded

FILE = "vocabulary.json"
LANGUAGE = "en"
BATCH = 10_000
FORMS = ((" {}", 1.0), ("{}", 0.1), (" {C}", 0.15), ("{C}", 0.1), (" {U}", 0.01))
"""How a word of the frequency list stands in text, and how often compared with the first; {C} is capitalised."""
MOST_WORDS = 150_000
"""Rarer words are not looked at."""
TRUST = 0.7
"""The weight of the model's expectations; the rest is the frequency list's, for what users will say."""
POSITIONS = 1024
"""Positions that the model is asked at: a few seconds on a CPU."""
PUNCTUATION = set("!?.,:;-\"'()*…▁\n")
"""Of these every short run is kept: characters speak with them."""
LONGEST = 256
"""Tokens read of one row."""


@dataclass(frozen=True)
class Vocabulary:
    """Which tokens of a model are kept."""

    kept: tuple[int, ...]
    """Their ids in the whole vocabulary, ascending: the new id of a token is its place here."""
    of: int
    """How many there were."""
    language: str
    """Whose words were preferred."""

    def new_ids(self) -> dict[int, int]:
        """From an id in the whole vocabulary to its id here."""
        return {old: new for new, old in enumerate(self.kept)}

    def write(self, folder: Path) -> None:
        """Keep it beside the weights."""
        files.write_json(
            folder / FILE, {"size": len(self.kept), "of": self.of, "language": self.language, "kept": list(self.kept)}
        )


def read(folder: Path) -> Vocabulary | None:
    """The vocabulary that a run's weights were trimmed to, or None for the whole one."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Vocabulary(tuple(int(i) for i in raw["kept"]), int(raw["of"]), str(raw["language"]))
    except (OSError, ValueError, RecursionError, OverflowError, KeyError, TypeError) as error:
        raise ModelError("the run's vocabulary cannot be read", where=path, fix="train again with: --fresh") from error


@dataclass(frozen=True)
class Wanted:
    """What one character needs of a vocabulary."""

    needed: frozenset[int]
    """Tokens that must be kept: those of its conversations."""
    expected: NDArray[np.float64] | None = None
    """How much each token was expected in them, (vocabulary,); see `expectations`."""
    language: str = LANGUAGE
    """Whose frequent words are kept besides."""


def expectations(model: Any, rows: Sequence[Sequence[int]], positions: int = POSITIONS) -> NDArray[np.float64]:
    """The model's probability of every token, (vocabulary,), added up over about so many positions of `rows`.

    `rows` are token ids; some of them, evenly spread, are read.
    """
    import torch

    total = torch.zeros(len(model.get_output_embeddings().weight))
    count = max(1, round(positions / max(1, statistics.mean(min(len(row), LONGEST) for row in rows))))
    some = [rows[round(i * len(rows) / count)] for i in range(count)] if count < len(rows) else rows
    with torch.inference_mode():
        for row in some:
            ids = torch.tensor([row[:LONGEST]], device=model.device)
            logits = model(input_ids=ids, use_cache=False).logits[0]
            for part in torch.split(logits, 64):
                total += part.float().softmax(-1).sum(0).cpu()
    found: NDArray[np.float64] = total.double().numpy()
    return found


def choose(tokenizer: Any, wanted: Wanted, size: int) -> Vocabulary | None:
    """The `size` tokens to keep: those needed, what every text needs, then the most frequent and most expected.

    None when the model has no more than `size` tokens anyway. Raises `RecipeError` when `size` cannot hold what must
    be kept or the language is unknown, and `ModelError` for a tokenizer that cannot be cut down.
    """
    description = _description(tokenizer)
    tokens = _all_tokens(description)
    if size >= len(tokens):
        return None
    family_of = _Families(description, tokens)
    kept: set[int] = set()
    for token in sorted({*wanted.needed, *_indispensable(tokenizer, description)}):
        kept |= family_of(token)
    if len(kept) > size:
        raise RecipeError(
            f"a vocabulary of {size:,} tokens is too small: the data and the alphabet alone need {len(kept):,}",
            fix=f"--vocab {-(-len(kept) // 1024) * 1024 + 4096}   or --vocab full",
        )
    for token in _ranking(tokenizer, max(tokens) + 1, wanted):
        if token in kept:
            continue
        family = family_of(token) - kept
        if len(kept) + len(family) <= size:
            kept |= family
        if len(kept) == size:
            break
    return Vocabulary(tuple(sorted(kept)), len(tokens), wanted.language)


def trim(loaded: Loaded, vocabulary: Vocabulary) -> Loaded:
    """The model with only the kept rows in its embedding and output layer, and its tokenizer to match.

    The model is changed in place.
    """
    tokenizer = trim_tokenizer(loaded.tokenizer, vocabulary)
    trim_model(loaded.model, vocabulary)
    new = vocabulary.new_ids()
    return Loaded(loaded.model, tokenizer, tuple(sorted(new[i] for i in loaded.stop_ids if i in new)))


def trim_model(model: Any, vocabulary: Vocabulary) -> None:
    """Drop the rows of all other tokens from `model`, and rename the token ids in its configs."""
    import torch

    kept = torch.tensor(vocabulary.kept)
    new = vocabulary.new_ids()
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head.weight is embedding.weight
    for layer in (embedding,) if tied else (embedding, head):
        layer.weight = torch.nn.Parameter(
            layer.weight.detach()[kept.to(layer.weight.device)], requires_grad=layer.weight.requires_grad
        )
    if tied:
        head.weight = embedding.weight
    if head.bias is not None:
        head.bias = torch.nn.Parameter(head.bias.detach()[kept.to(head.bias.device)])
    # Weights are read from a mapped file, which stays in memory as a whole while any of them lies in it.
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    embedding.num_embeddings = head.out_features = len(kept)
    if embedding.padding_idx is not None:
        embedding.padding_idx = new.get(embedding.padding_idx)
    for config in (model.config, model.config.get_text_config(), model.generation_config):
        for key, value in list(vars(config).items()):
            if key.endswith("_token_id"):
                setattr(config, key, _renamed(value, new))
        if hasattr(config, "vocab_size"):
            config.vocab_size = len(kept)


def trim_tokenizer(tokenizer: Any, vocabulary: Vocabulary) -> Any:
    """A tokenizer of the kept tokens alone, with the same template and the same special tokens."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    description = _description(tokenizer)
    new = vocabulary.new_ids()
    model = description["model"]
    model["vocab"] = {t: new[i] for t, i in model["vocab"].items() if i in new}
    here = model["vocab"]
    model["merges"] = [
        pair for pair in _merges(description) if pair[0] in here and pair[1] in here and "".join(pair) in here
    ]
    description["added_tokens"] = [{**t, "id": new[t["id"]]} for t in description["added_tokens"] if t["id"] in new]
    names = here | {t["content"]: t["id"] for t in description["added_tokens"]}
    description["post_processor"] = _renumbered(description["post_processor"], names)
    special = {key: str(value) for key, value in tokenizer.special_tokens_map.items() if str(value) in names}
    trimmed = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(json.dumps(description)),
        padding_side=tokenizer.padding_side,
        model_max_length=tokenizer.model_max_length,
        **special,
    )
    trimmed.chat_template = tokenizer.chat_template
    return trimmed


# --- what is kept --------------------------------------------------------------------------------------------


def _description(tokenizer: Any) -> dict[str, Any]:
    """The tokenizer as its JSON file says it. Raises `ModelError` when it is not one that can be cut down."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    description: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else {}
    model = description.get("model") or {}
    if model.get("type") != "BPE" or not (model.get("byte_fallback") or _is_byte_level(description)):
        raise ModelError(
            "the vocabulary of this model cannot be cut down: it is not a BPE over bytes", fix="--vocab full"
        )
    return description


def _is_byte_level(description: dict[str, Any]) -> bool:
    return '"ByteLevel"' in json.dumps([description.get("pre_tokenizer"), description.get("normalizer")])


def _all_tokens(description: dict[str, Any]) -> dict[int, str]:
    tokens = {i: t for t, i in description["model"]["vocab"].items()}
    return tokens | {t["id"]: t["content"] for t in description["added_tokens"]}


def _merges(description: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = (m.split(" ", 1) if isinstance(m, str) else m for m in description["model"]["merges"])
    return [(left, right) for left, right in pairs]


class _Families:
    """Which tokens have to be there for a token to come out of its own text."""

    def __init__(self, description: dict[str, Any], tokens: dict[int, str]) -> None:
        self._vocabulary: dict[str, int] = description["model"]["vocab"]
        self._tokens = tokens
        self._ranks = {pair: rank for rank, pair in enumerate(_merges(description))}

    def __call__(self, token: int) -> set[int]:
        """`token` and every token that is merged on the way to it.

        Merges are taken as BPE takes them, the earliest of all that are possible, and not those that name the token:
        ` should` is first named as `▁sho` + `uld`, but its text is merged to `▁sh` and `ou` + `ld` before those can
        meet. With the whole way kept, fewer merges cannot change it: what was the earliest still is.
        """
        text = self._tokens.get(token)
        if text is None:
            return set()
        pieces, way = list(text), {token}
        while True:
            way |= {self._vocabulary[piece] for piece in pieces if piece in self._vocabulary}
            pairs = enumerate(pairwise(pieces))
            found = [(rank, at) for at, pair in pairs if (rank := self._ranks.get(pair)) is not None]
            if not found:
                return way
            at = min(found)[1]
            pieces[at : at + 2] = ["".join(pieces[at : at + 2])]


def _indispensable(tokenizer: Any, description: dict[str, Any]) -> set[int]:
    """Tokens without which not every text can be written: bytes, punctuation, line breaks, turn tokens."""
    model = description["model"]
    vocabulary: dict[str, int] = model["vocab"]
    found = set(tokenizer.all_special_ids)
    template = str(tokenizer.chat_template)
    for token in description["added_tokens"]:
        text = token["content"]
        if text in template or (len(text) <= 4 and not any(c.isalnum() for c in text)):
            found.add(token["id"])
    if model.get("byte_fallback"):
        found |= {vocabulary[name] for byte in range(256) if (name := f"<0x{byte:02X}>") in vocabulary}
        found |= {i for text, i in vocabulary.items() if len(text) == 1 and _is_common(text)}
    else:  # the alphabet of a byte-level vocabulary is its 256 bytes
        found |= {i for text, i in vocabulary.items() if len(text) == 1}
    found |= {i for text, i in vocabulary.items() if len(text) <= 4 and not set(text) - PUNCTUATION}
    return found


def _is_common(character: str) -> bool:
    """Latin letters, digits, punctuation, money, arrows and emoji: what turns up in any language's chat."""
    code = ord(character)
    if (
        code < 0x250
        or character == "▁"
        or 0x2000 <= code < 0x2070
        or 0x1F300 <= code < 0x1FAFF
        or 0x2600 <= code < 0x27C0
    ):
        return True
    return unicodedata.category(character) == "Sc"


def _ranking(tokenizer: Any, tokens: int, wanted: Wanted) -> list[int]:
    """Token ids, the most useful first: frequent in the language, or expected by the model."""
    score = _frequencies(tokenizer, tokens, wanted.language)
    if wanted.expected is not None:
        expected = wanted.expected[:tokens]
        score = (1 - TRUST) * score
        score[: len(expected)] += TRUST * expected / max(expected.sum(), 1e-12)
    order: list[int] = np.argsort(-score, kind="stable")[: int((score > 0).sum())].tolist()
    return order


def _frequencies(tokenizer: Any, tokens: int, language: str) -> NDArray[np.float64]:
    """The share of each token in text of the language; worked out once for a tokenizer and then kept."""
    backend = tokenizer.backend_tokenizer
    key = files.content_hash(backend.to_str(), language)[:16]
    path = settings.cache_folder() / "vocabularies" / f"{language}-{key}.npy"
    if path.exists():
        kept: NDArray[np.float64] = np.load(path, allow_pickle=False)
        return kept
    frequencies = _words(language)
    words = list(frequencies)
    weights = np.zeros(tokens)
    for form, share in FORMS:
        for start in range(0, len(words), BATCH):
            batch = words[start : start + BATCH]
            texts = [form.format(word, C=word[:1].upper() + word[1:], U=word.upper()) for word in batch]
            for word, encoding in zip(batch, backend.encode_batch_fast(texts, add_special_tokens=False), strict=True):
                weights[encoding.ids] += share * frequencies[word]
    weights /= weights.sum()
    content = io.BytesIO()
    np.save(content, weights)
    files.write_bytes(path, content.getvalue())
    return weights


def _words(language: str) -> dict[str, float]:
    """The words of a language and how large a share of its text each is."""
    from wordfreq import available_languages, get_frequency_dict

    known = available_languages("best")
    if language not in known:
        raise RecipeError(
            f"there is no word list for the language {language!r}",
            fix=f"--language with one of: {' '.join(sorted(known))}; or --vocab full",
        )
    words: dict[str, float] = get_frequency_dict(language, wordlist="best")
    common = sorted(words, key=lambda word: -words[word])[:MOST_WORDS]
    return {word: words[word] for word in common}


def _renamed(value: Any, new: dict[int, int]) -> Any:
    """A config's token id, or list of them, in the new numbering; what is gone becomes None or falls out."""
    if isinstance(value, int) and not isinstance(value, bool):
        return new.get(value)
    if isinstance(value, list):
        return [new[i] for i in value if i in new]
    return value


def _renumbered(processor: Any, names: dict[str, int]) -> Any:
    """A post-processor with the new ids of the tokens that it adds."""
    if isinstance(processor, dict):
        changed = {key: _renumbered(value, names) for key, value in processor.items()}
        if "ids" in changed and "tokens" in changed:
            changed["ids"] = [names[token] for token in changed["tokens"]]
        return changed
    if isinstance(processor, list):
        if len(processor) == 2 and isinstance(processor[0], str) and isinstance(processor[1], int):
            return [processor[0], names.get(processor[0], processor[1])]
        return [_renumbered(value, names) for value in processor]
    return processor
