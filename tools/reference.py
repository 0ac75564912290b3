"""Write docs/reference.md from the code: every verb and flag, every key of every file, exit codes, variables, folders.

python tools/reference.py          writes it
python tools/reference.py --check  says whether it is as the code would write it
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclopts import App
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from personatune import cli
from personatune.evaluation.cases import Case, Defaults, Phrase, Voice
from personatune.evaluation.checks import Check
from personatune.evaluation.suite import Suite
from personatune.generation.params import GenerationParams
from personatune.persona import Character, Look, Persona
from personatune.sweeping.plan import Sobol, SweepPlan
from personatune.training.recipe import Recipe

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
VARIABLES = {
    "PERSONATUNE_HOME": "The cache folder: unpacked starters, merged models, fast engines. Left out, your system's.",
    "PERSONATUNE_OFFLINE": "`1` does what `--offline` does, for all commands.",
    "PERSONATUNE_API_KEY": "The key for a server that wants one; written nowhere.",
    "PERSONATUNE_RESULT": "Set by the queue for its own jobs; leave it alone.",
    "PERSONATUNE_SHARERS": "Set for trainings that run side by side: how many share the memory.",
    "VISUAL": "The editor that `personatune fix` opens.",
    "EDITOR": "The same, where there is no `VISUAL`.",
    "HF_HOME": "Where Hugging Face programs keep what they fetched.",
    "HF_TOKEN": "Logs in to Hugging Face, in place of `hf auth login`.",
}
"""The environment variables that a user may set, and one that they may meet."""
RUN_FILES = {
    "manifest.json": "what made the run and what came of it",
    "recipe.toml": "every training choice; `--recipe` reads it again",
    "metrics.jsonl": "the loss of each step, the held-out loss as it was measured",
    "heldout.json": "which rows were held out",
    "split.json": "the rows of both sides by their hashes",
    "model/": "the adapter or the weights, tokenizer, chat template, stop tokens",
    "tensorboard/": "the same figures for TensorBoard",
}
"""What lies in the folder of every finished run."""
_OPTION = re.compile(r"^\* `(.+?)`: ?(.*)$")
_EXTRA = re.compile(r"\s*\*{1,2}\[(choices|default|required)(?:: (.*?))?\]\*{1,2}")


def page() -> str:
    """The whole page."""
    parts = [
        "# Reference\n\nMade from the code by `make reference`: what this version takes and does. "
        "How things are used is in the [how-to](how-to.md).\n",
        "## Commands\n\nA flag without a default in the table is off, or left out.\n",
        *(_verb(verb, module) for verb, (module, _) in cli.VERBS.items()),
        _everywhere(),
        _exit_codes(),
        _keys("Recipe keys", Recipe, "A recipe file (`--recipe`), `[training]` in `persona.toml`, flags of `train`."),
        _keys(
            "Generation parameters",
            GenerationParams,
            "`[generation]` in `persona.toml`, a suite's `parameters`, flags.",
        ),
        _keys("persona.toml", Character),
        _keys("[look] in persona.toml", Look),
        _keys("suite.yaml", Suite),
        _keys("defaults in suite.yaml", Defaults),
        _keys("voice in suite.yaml", Voice, "A catchphrase that is a text is one without `expect`."),
        _keys("a catchphrase in suite.yaml", Phrase),
        _keys("cases in suite.yaml", Case, "For a case of one turn, `input` takes the place of `turns`."),
        _keys("checks in suite.yaml", Check),
        _keys("Sweep plans", SweepPlan, "What `--plan` of a sweep reads."),
        _keys("sobol in a sweep plan", Sobol),
        _variables(),
        _folder(),
    ]
    return "\n".join(parts)


def _verb(verb: str, module: str) -> str:
    app = importlib.import_module(f"personatune.cli.{module}").app
    words = [word for word in app if not word.startswith("-")]
    found = [] if words and app.default_command is None else [_command(app, f"personatune {verb}")]
    found += [_command(app[word], f"personatune {verb} {word}") for word in words]
    return "\n".join(found)


def _command(app: App, name: str) -> str:
    told = app.generate_docs(output_format="markdown", heading_level=3, recursive=False)
    about = _about(app)
    arguments, flags = tuple(_entries(told, "Arguments")), tuple(_entries(told, "Parameters"))
    usage = " ".join([name, *(word for word, *_ in arguments), *(["[FLAGS]"] if flags else [])])
    lines = [f"### {name}", "", f"    {usage}", "", about, ""]
    if arguments or flags:
        lines += ["| | default | |", "|---|---|---|"]
        lines += [f"| `{word}` | {default} | {sentence} |" for word, default, sentence in (*arguments, *flags)]
        lines.append("")
    return "\n".join(lines)


def _about(app: App) -> str:
    """What a command's docstring says before its parameters."""
    function = app.default_command
    text = inspect.getdoc(function) if function else str(app.help)
    return str(text).partition("\n\nParameters\n")[0].strip()


def _entries(told: str, heading: str) -> Iterator[tuple[str, str, str]]:
    """Name, default and sentence of each entry under a heading of what cyclopts writes."""
    section = re.search(rf"^\*\*{heading}\*\*:\n\n(.*?)(?=^\*\*|^#|\Z)", told, re.MULTILINE | re.DOTALL)
    joined = re.sub(r"\n\s{2,}", " ", section.group(1)) if section else ""
    for line in joined.splitlines():
        if found := _OPTION.match(line):
            name, sentence = found.groups()
            extra = {kind: value or "" for kind, value in _EXTRA.findall(sentence)}
            sentence = _EXTRA.sub("", sentence).strip()
            if "choices" in extra:
                name = name.replace(" CHOICE", " " + extra["choices"].replace(", ", "|"))
            default = extra.get("default", "")
            shown = f"`{default}`" if default not in ("", "False", "None", "()") else ""
            yield _cell(name), "must be given" if "required" in extra else shown, _cell(sentence)


def _everywhere() -> str:
    rows = re.findall(r"^  (--\w+) +(.+)$", cli._GLOBAL, re.MULTILINE)
    return "\n".join(["### In any place of any command", "", "| | |", "|---|---|",
                      *(f"| `{flag}` | {sentence} |" for flag, sentence in rows), ""])  # fmt: skip


def _exit_codes() -> str:
    said = " ".join(inspect.getdoc(cli.run).split("\n\n")[1].split()).rstrip(".")  # type: ignore[union-attr]
    rows = [part.strip().partition(" ") for part in said.split(";")]
    return "\n".join(["## Exit codes", "", "| code | |", "|---|---|",
                      *(f"| {code} | {meaning or 'all went well'} |" for code, _, meaning in rows), ""])  # fmt: skip


def _keys(title: str, model: type[BaseModel], about: str = "") -> str:
    sentences = _sentences(model)
    level = "##" if title[0].isupper() or title in ("persona.toml", "suite.yaml") else "###"
    lines = [f"{level} {title}", "", *([about, ""] if about else [])]
    lines += ["| key | value | default | |", "|---|---|---|---|"]
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        key = field.alias or name
        default = field.get_default(call_default_factory=True)  # type: ignore[call-arg]
        plain = default is PydanticUndefined or default in (None, "", (), {}) or isinstance(default, BaseModel)
        shown = "must be given" if field.is_required() else "" if plain else f"`{_toml(default)}`"
        kind = _kind(schema["properties"][key], schema.get("$defs", {}))
        sentence = _cell(sentences.get(name) or str(field.description))
        lines.append(f"| `{key}` | {kind} | {shown} | {sentence} |")
    return "\n".join([*lines, ""])


def _sentences(model: type[BaseModel]) -> dict[str, str]:
    """The sentence under each field, out of the source."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }  # fmt: skip


def _kind(schema: dict[str, Any], known: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        return "see below"
    if "anyOf" in schema:
        kinds = [_kind(one, known) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind == "array":
        return "a list" if "$ref" not in schema.get("items", {}) else "a list, see below"
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        span = [f"over {low:g}" if "exclusiveMinimum" in schema else f"from {low:g}"] if low is not None else []
        if high is not None and high < 2**31:
            span.append(f"under {high:g}" if "exclusiveMaximum" in schema else f"to {high:g}")
        return " ".join(["a whole number" if kind == "integer" else "a number", *span])
    return {"string": "text", "object": "a table", "boolean": "true or false"}.get(str(kind), "")


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else f"{value!r}"


def _variables() -> str:
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "src" / "personatune").rglob("*.py"))
    unknown = set(re.findall(r"\bPERSONATUNE_[A-Z_]+", source)) ^ {n for n in VARIABLES if n.startswith("PERSONATUNE")}
    assert not unknown, f"tools/reference.py and the source differ about {unknown}"
    assert all(f'"{name}"' in source or name in source for name in VARIABLES)
    return "\n".join(["## Environment variables", "", "| variable | |", "|---|---|",
                      *(f"| `{name}` | {about} |" for name, about in VARIABLES.items()), ""])  # fmt: skip


def _folder() -> str:
    robin = Persona(Path("robin"), Character(name="Robin"))
    lines = ["## The persona's folder", "", "| | |", "|---|---|", "| `robin/persona.toml` | Who the character is. |"]
    for name, member in vars(Persona).items():
        if isinstance(member, property) and isinstance(path := getattr(robin, name), Path):
            lines.append(f"| `{path}{'' if path.suffix else '/'}` | {inspect.getdoc(member)} |")
    lines += ["", "### A run's folder", "", "| | |", "|---|---|"]
    lines += [f"| `robin/runs/r1/{name}` | {about} |" for name, about in RUN_FILES.items()]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page, or say whether it is as it would be written."""
    if "--check" in sys.argv:
        same = PAGE.is_file() and PAGE.read_text("utf-8") == page()
        if not same:
            print("docs/reference.md is not what the code says: make reference", file=sys.stderr)
        return 0 if same else 1
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
