"""README.md of an export: who the character is, what made it, how it did, how to use it, how near it is to the run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from personatune import files
from personatune.conversation import Conversation
from personatune.data.drafts import drafted_in
from personatune.data.findings import counted
from personatune.errors import PersonatuneError
from personatune.export.figures import each, figures
from personatune.export.notices import base_of, is_gemma, licence_of
from personatune.export.target import Target, Work
from personatune.store.of_persona import open_store

HERE = 'MODEL = "."  # this folder'
"""The line of the snippet that says where the model is; an upload puts its own name there."""
_RECIPE = ("method", "epochs", "learning_rate", "schedule", "batch_size", "lora_rank", "lora_alpha", "heldout", "seed")
_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_GEMMA = "Gemma is provided under and subject to the Gemma Terms of Use found at https://ai.google.dev/gemma/terms"


def write(work: Work, target: Target, folder: Path, parity: Mapping[str, Any] | None) -> None:
    """Write the card into `folder`."""
    files.write_text(folder / "README.md", text(work, target, parity))


def text(work: Work, target: Target, parity: Mapping[str, Any] | None) -> str:
    """The card as Markdown, with the front matter that Hugging Face reads."""
    models = list(dict.fromkeys(base_of(one) for one in work.everyone))
    licences = list(dict.fromkeys(licence_of(one) for one in work.everyone))
    known = [name for name in models if _ON_HUB.fullmatch(name)]  # the hub refuses a card that names others
    parts = [
        "---",
        f"license: {licences[0] if len(licences) == 1 else 'other'}",
        *([f"base_model: {json.dumps(known[0] if len(known) == 1 else known)}"] if known else []),
        *(["library_name: transformers"] if target.name == "hf" else []),
        "pipeline_tag: text-generation",
        "tags:",
        "- personatune",
        "- character",
        "---",
        "",
    ]
    for one in work.everyone:
        parts += _character(one, target)
    parts += _how_to_run(work, target)
    if work.notes:
        parts += ["## To know", "", *(f"- {note}" for note in work.notes), ""]
    parts += _judged(work)
    parts += ["## Compared with the run", ""]
    for name, figured in each(parity) if parity else ():
        parts += [*([f"### {name}", ""] if name else []), *_compared(figured), ""]
    parts += [] if parity else ["Not compared.", ""]
    return "\n".join([*parts, *_licence(work, licences)])


def _character(work: Work, target: Target) -> Iterator[str]:
    """Who a character is, what made it, and how its replies measured."""
    who, data = work.persona.character, work.manifest.get("data") or {}
    yield from (f"# {who.name}", "")
    for paragraph in (who.summary, who.description):
        if paragraph.strip():
            yield from (paragraph, "")
    rows = learned(work)
    yield from (
        f"A character: {base_of(work)}, fine-tuned with personatune on {data.get('train', '?')} conversations. It says "
        "what the character would say, not what is true, and it is a machine.",
        "",
        "| | |",
        "|---|---|",
        f"| run | {work.persona.name}@{work.run} |",
        f"| data version | {str(data.get('version', '?'))[:12]} |",
        f"| conversations | {data.get('rows', '?')}: {data.get('train', '?')} to learn from, "
        f"{data.get('heldout', '?')} held out |",
        f"| drafted by a model, accepted by the author | {_drafted(data, rows)} |",
        f"| format | {target.name}, {work.quantization} |",
        f"| vocabulary | {work.vocabulary.get('size', '?')} tokens |",
        f"| stop tokens | {', '.join(map(str, work.merged.stop_ids))} |",
        *_trained(work.manifest),
        "",
        *_measured(work),
        "## Generation parameters",
        "",
        *(f"- {name}: {value}" for name, value in work.params.model_dump(exclude={"seed"}).items()),
        "",
    )
    if work.system_prompt:
        yield from ("Every conversation of the training data begins with this stage direction, so use it too:", "")
        yield from (*(f"> {line}" for line in work.system_prompt.splitlines()), "")
    if work.told.examples:
        yield from ("## Some of what it learned from", "")
        for row in rows[: work.told.examples]:
            speaker = {"user": "User", "assistant": who.name, "system": "Stage direction"}
            for message in row.messages:
                yield from (f"> **{speaker[message.role]}:** {' '.join(message.content.split())}", ">")
            yield ""


def learned(work: Work) -> list[Conversation]:
    """What the run learned from, as the store keeps it; nothing where it does not."""
    from personatune.conversation import Source
    from personatune.data.formats import messages

    version = str((work.manifest.get("data") or {}).get("version", ""))
    try:
        with open_store(work.persona) as store:
            kept = store.dataset_rows(version)
        return [messages.read(json.loads(row), Source(path=version, line=n)) for n, (_, row) in enumerate(kept, 1)]
    except (PersonatuneError, ValueError, KeyError):  # a run from another machine has no data here
        return []


def _drafted(data: Mapping[str, Any], rows: Sequence[Conversation]) -> str:
    """How many rows a model drafted: as the run's record says it, else as its rows do."""
    found = data.get("drafted") or (drafted_in(rows) if rows else None)
    if found is None:
        return "not recorded"
    return f"{found['drafted']}, {found['edited']} of them changed" if found else "none"


def _trained(made: Mapping[str, Any]) -> Iterator[str]:
    resolved = (made.get("recipe") or {}).get("resolved") or {}
    told = ", ".join(f"{key.replace('_', ' ')} {resolved[key]}" for key in _RECIPE if resolved.get(key) is not None)
    if told:
        yield f"| recipe | {told} |"
    heldout = made.get("heldout") or {}
    before, after = heldout.get("nll_before"), heldout.get("nll_after")
    if isinstance(before, float) and isinstance(after, float):
        yield f"| held-out loss | {before:.3f} before, {after:.3f} after, in nats a token |"


def _measured(work: Work) -> Iterator[str]:
    """The signals of the newest evaluation of this run, each with its count and interval."""
    name = f"{work.persona.name}@{work.run}"
    try:
        with open_store(work.persona) as store:
            found = [
                (one, of)
                for one in store.evaluations()
                for of in one.summary.get("contestants", ())
                if of.get("run") == work.run and of.get("signals")
            ]
    except PersonatuneError:
        return
    yield from ("## What was measured", "")
    if not found:
        yield from (f"{name} has not been evaluated.", "")
        return
    evaluation, of = found[-1]
    yield from (
        f"{counted(int(of.get('samples', 0)), 'reply', 'replies')} to the prompts of its suite "
        f"({evaluation.created.date().isoformat()}). These are counts, not grades.",
        "",
        "| | replies | share | 95 % interval |",
        "|---|---|---|---|",
    )
    for signal, rate in of["signals"].items():
        yield (
            f"| {signal.replace('_', ' ')} | {rate['count']} of {rate['n']} | {_percent(rate['rate'])} | "
            f"{_percent(rate['low'])} to {_percent(rate['high'])} |"
        )
    yield ""


def _judged(work: Work) -> Iterator[str]:
    yield from ("## Judged by ear", "")
    if work.told.votes:
        yield from (*(f"- {line}" for line in work.told.votes), "")
    else:
        yield from ("Nobody has judged this run blind yet.", "")


def _how_to_run(work: Work, target: Target) -> Iterator[str]:
    """What to type where."""
    if target.name == "web":
        return
    yield from ("## How to run it", "")
    if target.name == "gguf":
        yield from (
            "With llama.cpp (`-cnv` talks, the chat template is in the file):",
            "",
            "```sh",
            "llama-cli -m *.gguf -cnv",
            "```",
            "",
        )
    elif target.name == "ollama":
        yield from ("In this folder:", "", "```sh", f"ollama create {work.persona.name} -f Modelfile",
                    f"ollama run {work.persona.name}", "```", "")  # fmt: skip
    elif target.name == "hf":
        yield from ("With transformers:", "", "```python", *_snippet(work), "```", "")
        reference = shlex.quote(f"{work.persona.name}@{work.run}")
        yield from (
            "For llama.cpp and Ollama, whoever has the run writes the file with the same weights, compared with it:",
            "",
            "```sh",
            f"personatune export {reference} --to gguf",
            f"personatune export {reference} --to ollama",
            "```",
            "",
            "Whoever has only this folder makes one with llama.cpp's `convert_hf_to_gguf.py`, and both run it: "
            "`llama-cli -m FILE.gguf -cnv`, or a Modelfile that says `FROM ./FILE.gguf`.",
            "",
        )


def _snippet(work: Work) -> Iterator[str]:
    """Lines of Python that make one reply; tests run them."""
    stage = f'{{"role": "system", "content": {json.dumps(work.system_prompt)}}}, ' if work.system_prompt else ""
    yield from (
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        HERE,
        "tokenizer = AutoTokenizer.from_pretrained(MODEL)",
        "model = AutoModelForCausalLM.from_pretrained(MODEL)",
        f'talk = [{stage}{{"role": "user", "content": "Good evening!"}}]',
        'form = {"add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}',
        "asked = tokenizer.apply_chat_template(talk, **form)",
        "said = model.generate(**asked)  # with the parameters above, from generation_config.json",
        'print(tokenizer.decode(said[0][asked["input_ids"].shape[1] :], skip_special_tokens=True))',
    )


def _licence(work: Work, licences: Sequence[str]) -> Iterator[str]:
    yield from ("## Licence", "")
    if any(is_gemma(one) for one in work.everyone):
        yield from (f"{_GEMMA}. The weights were modified by fine-tuning. Keep NOTICE.txt and the terms with them.", "")
    elif licences == ["other"]:
        yield from ("The licence of the base model is not known to personatune: see where it came from.", "")
    else:
        yield from (f"As the base model: {', '.join(licences)}. The weights were modified by fine-tuning.", "")


def _compared(parity: Mapping[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in figures(parity))]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
