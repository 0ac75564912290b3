"""README.md of an export: who the character is, what made it, how to use it, and how near it is to the run."""

from __future__ import annotations

from pathlib import Path

from personatune import files
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
        f"base_model: {base_of(work)}",
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
    shown = [f"| {name} | {value} |" for name, value in figures(parity)]
    return ["| | |", "|---|---|", *shown]


def figures(parity: Parity) -> list[tuple[str, str]]:
    """The comparison as people read it."""
    ratio = 100 * (parity.perplexity / parity.perplexity_run - 1)
    ties = sum(one.ties for one in (*parity.greedy, parity.long_greedy))
    return [
        ("texts split into the same tokens", f"{parity.texts_same} of {parity.texts}"),
        (
            f"divergence on {parity.positions} positions of {'held-out' if parity.on_held_out else 'training'} replies",
            f"{parity.kl:.5f} nats",
        ),
        ("the same likeliest token there", f"{100 * parity.top1:.1f} %"),
        (
            "perplexity there, run and export",
            f"{parity.perplexity_run:.3f} and {parity.perplexity:.3f} ({ratio:+.2f} %)",
        ),
        (
            "likeliest replies, tokens the same",
            ", ".join(f"{one.same}/{one.of}" for one in parity.greedy) + (f" ({ties} ties)" if ties else ""),
        ),
        (
            f"after a prompt of {parity.long_tokens} tokens",
            f"{parity.long_greedy.same}/{parity.long_greedy.of}, divergence {parity.long_kl:.5f} nats",
        ),
        (
            f"of {parity.replies} drawn replies end by themselves, run and export",
            f"{parity.stopped_run} and {parity.stopped}",
        ),
    ]
