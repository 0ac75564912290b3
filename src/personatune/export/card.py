"""README.md of an export: who the character is, what made it, how to use it, and how near it is to the run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from personatune import files
from personatune.export.figures import each, figures
from personatune.export.notices import base_of, licence_of
from personatune.export.target import Target, Work


def write(work: Work, target: Target, folder: Path, parity: Mapping[str, Any] | None) -> None:
    """Write the card into `folder`."""
    files.write_text(folder / "README.md", text(work, target, parity))


def text(work: Work, target: Target, parity: Mapping[str, Any] | None) -> str:
    """The card as Markdown, with the front matter that Hugging Face reads."""
    models = list(dict.fromkeys(base_of(one) for one in work.everyone))
    licences = list(dict.fromkeys(licence_of(one) for one in work.everyone))
    parts = [
        "---",
        f"license: {licences[0] if len(licences) == 1 else 'other'}",
        f"base_model: {json.dumps(models[0] if len(models) == 1 else models, ensure_ascii=False)}",
        "pipeline_tag: text-generation",
        "tags:",
        "- personatune",
        "- character",
        "---",
        "",
    ]
    for one in work.everyone:
        parts += _character(one, target)
    if work.notes:
        parts += ["## To know", "", *(f"- {note}" for note in work.notes), ""]
    parts += ["## Compared with the run", ""]
    for name, figured in each(parity) if parity else ():
        parts += [*([f"### {name}", ""] if name else []), *_compared(figured), ""]
    return "\n".join([*parts, *([] if parity else ["Not compared.", ""])])


def _character(work: Work, target: Target) -> Iterator[str]:
    """Who a character is and what made it."""
    who, data = work.persona.character, work.manifest.get("data") or {}
    yield from (f"# {who.name}", "")
    for paragraph in (who.summary, who.description):
        if paragraph.strip():
            yield from (paragraph, "")
    yield from (
        f"A character: {base_of(work)}, fine-tuned with personatune on {data.get('train', '?')} conversations. It says "
        "what the character would say, not what is true, and it is a machine.",
        "",
        "| | |",
        "|---|---|",
        f"| run | {work.persona.name}@{work.run} |",
        f"| data version | {str(data.get('version', '?'))[:12]} |",
        f"| format | {target.name}, {work.quantization} |",
        f"| vocabulary | {work.vocabulary.get('size', '?')} tokens |",
        f"| stop tokens | {', '.join(map(str, work.merged.stop_ids))} |",
        "",
        "## Generation parameters",
        "",
        *(f"- {name}: {value}" for name, value in work.params.model_dump(exclude={"seed"}).items()),
        "",
    )
    if work.system_prompt:
        yield from ("Every conversation of the training data begins with this stage direction, so use it too:", "")
        yield from (*(f"> {line}" for line in work.system_prompt.splitlines()), "")


def _compared(parity: Mapping[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in figures(parity))]
