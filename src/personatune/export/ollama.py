"""The target ollama: a GGUF file with a Modelfile that says how Ollama talks to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from personatune import files
from personatune.export import gguf, notices
from personatune.export.gguf_tokenizer import begins_with_bos
from personatune.export.target import Target, Work
from personatune.export.turns import Turns, cut
from personatune.models.gguf_file import Stage

MODELFILE = "Modelfile"
CONTEXT = 4096
"""Tokens of conversation that Ollama keeps, where the model reads so many."""
_QUOTES = '"""'


def check(work: Work) -> None:
    """Raise `ModelError` for a model or a chat template that cannot be written."""
    gguf.check(work)
    cut(_tokenizer(work))


def write(work: Work, folder: Path, on_stage: Stage) -> None:
    """Write the GGUF file and the Modelfile."""
    tokenizer = _tokenizer(work)
    gguf.write(work, folder, on_stage)
    files.write_text(folder / MODELFILE, modelfile(work, tokenizer))


def modelfile(work: Work, tokenizer: Any) -> str:
    """What `ollama create` reads."""
    bos = str(tokenizer.bos_token) if begins_with_bos(work.merged) else ""
    lines = [
        f"# {work.title}, written by personatune. Beside this file: ollama create {name_of(work)} -f {MODELFILE}",
        f"FROM ./{gguf.file_name(work.quantization)}",
        f"TEMPLATE {_quoted(go_template(cut(tokenizer), bos))}",
    ]
    if work.system_prompt:
        lines.append(f"SYSTEM {_quoted(work.system_prompt)}")
    lines += [f"PARAMETER {name} {value}" for name, value in _parameters(work, tokenizer)]
    lines.append(f"LICENSE {_quoted(notices.text(work).strip())}")
    return "\n".join(lines) + "\n"


def go_template(turns: Turns, bos: str = "") -> str:
    """The turns as a template of Go, which is what Ollama runs; `bos`, which Ollama adds itself, is left out."""
    first = turns.first.removeprefix(bos)
    parts = [f"{{{{- $before := {_go(first)} }}}}", "{{- range .Messages }}"]
    branch = "if"
    if turns.system:
        opening = turns.system[0].removeprefix(bos)
        parts.append(
            f'{{{{- if eq .Role "system" }}}}{{{{ {_go(opening)} }}}}{{{{ .Content }}}}'
            f"{{{{- $before = {_go(turns.system[1])} }}}}"
        )
        branch = "else if"
    parts += [
        f'{{{{- {branch} eq .Role "user" }}}}{{{{ $before }}}}{{{{ .Content }}}}{{{{ {_go(turns.reply)} }}}}',
        f'{{{{- else if eq .Role "assistant" }}}}{{{{ .Content }}}}{{{{- $before = {_go(turns.user)} }}}}',
        "{{- end }}",
        "{{- end }}",
    ]
    return "\n".join(parts)


def name_of(work: Work) -> str:
    """What the model is called in Ollama: small letters, digits and a few signs."""
    return re.sub(r"[^a-z0-9._-]+", "-", work.persona.name.lower()).strip("-._") or "character"


def _parameters(work: Work, tokenizer: Any) -> Iterator[tuple[str, str]]:
    params = work.params
    for token in work.merged.stop_ids:
        yield "stop", json.dumps(str(tokenizer.convert_ids_to_tokens(token)), ensure_ascii=False)
    yield "temperature", f"{params.temperature:g}"
    yield "top_p", f"{params.top_p:g}"
    yield "top_k", str(params.top_k)
    yield "min_p", f"{params.min_p:g}"
    yield "repeat_penalty", f"{params.repetition_penalty:g}"
    yield "repeat_last_n", "-1"
    yield "num_predict", str(params.max_new_tokens)
    yield "num_ctx", str(min(CONTEXT, int(work.merged.config["max_position_embeddings"])))


def _go(text: str) -> str:
    """A string as Go and JSON both write it."""
    return json.dumps(text, ensure_ascii=False)


def _quoted(text: str) -> str:
    # A Modelfile has no way to say three quotes inside three quotes.
    return f"{_QUOTES}{text.replace(_QUOTES, chr(39) * 3)}{_QUOTES}"


def _tokenizer(work: Work) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(work.merged.folder, trust_remote_code=False)


def _after(work: Work, folder: Path) -> list[str]:
    return [f"cd {folder}", f"ollama create {name_of(work)} -f {MODELFILE}", f"ollama run {name_of(work)}"]


TARGET = Target(
    name="ollama",
    limits=gguf.TARGET.limits,
    write=write,
    reload=gguf.reload,
    octets=gguf.octets,
    missing=gguf.TARGET.missing,
    check=check,
    after=_after,
)
