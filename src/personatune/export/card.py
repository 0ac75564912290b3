"""README.md of an export: who the character is, what made it, how to use it, and how near it is to the run."""

from __future__ import annotations

import json
from pathlib import Path

from personatune import files
from personatune.export.figures import figures
from personatune.export.notices import base_of, licence_of
from personatune.export.parity import Parity
from personatune.export.target import Target, Work


def write(work: Work, target: Target, folder: Path, parity: Parity | None) -> None:
    """Write the card into `folder`."""
    files.write_text(folder / "README.md", text(work, target, parity))


def text(work: Work, target: Target, parity: Parity | None) -> str:
    """The card as Markdown, with the front matter that Hugging Face reads."""
    who, made = work.persona.character, work.manifest
    data = made.get("data") or {}
    parts = [
        "---",
        f"license: {licence_of(work)}",
        f"base_model: {json.dumps(base_of(work), ensure_ascii=False)}",
        "pipeline_tag: text-generation",
        "tags:",
        "- personatune",
        "- character",
        "---",
        "",
        f"# {who.name}",
        "",
    ]
    parts += [line for paragraph in (who.summary, who.description) if paragraph.strip() for line in (paragraph, "")]
    parts += [
        f"A character: {base_of(work)}, fine-tuned with personatune on {data.get('train', '?')} conversations. It says "
        "what the character would say, not what is true, and it is a machine.",
        "",
        "| | |",
        "|---|---|",
        f"| run | {work.persona.name}@{work.run} |",
        f"| data version | {str(data.get('version', '?'))[:12]} |",
        f"| format | {target.name}, {work.quantization} |",
        f"| vocabulary | {(made.get('vocabulary') or {}).get('size', '?')} tokens |",
        f"| stop tokens | {', '.join(map(str, work.merged.stop_ids))} |",
        "",
        "## Generation parameters",
        "",
        *(f"- {name}: {value}" for name, value in work.params.model_dump(exclude={"seed"}).items()),
        "",
    ]
    if work.system_prompt:
        parts += ["Every conversation of the training data begins with this stage direction, so use it too:", ""]
        parts += [f"> {line}" for line in work.system_prompt.splitlines()] + [""]
    if work.notes:
        parts += ["## To know", "", *(f"- {note}" for note in work.notes), ""]
    parts += ["## Compared with the run", "", *(_compared(parity) if parity else ["Not compared."]), ""]
    return "\n".join(parts)


def _compared(parity: Parity) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in figures(parity.as_dict()))]
