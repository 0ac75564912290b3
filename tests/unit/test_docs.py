"""README and docs say what is there: modules, commands with their flags, imports, files, links."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from personatune import cli
from personatune.terminal.chat_view import COMMANDS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "personatune"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request: pytest.FixtureRequest) -> str:
    text: str = request.param.read_text("utf-8")
    return text


def test_the_tree_names_every_module_and_nothing_else():
    lines = list(_tree((ROOT / "docs" / "architecture.md").read_text("utf-8")))
    listed = set(lines)
    assert [str(path.relative_to(PACKAGE)) for path in listed if lines.count(path) > 1] == [], "twice in the docs"
    there = {path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent == PACKAGE}
    there |= {path.parent for path in PACKAGE.rglob("__init__.py")} - {PACKAGE}

    assert {str(path.relative_to(PACKAGE)) for path in there - listed} == set(), "missing in docs/architecture.md"
    assert {str(path.relative_to(PACKAGE)) for path in listed if not path.exists()} == set(), "only in the docs"


def test_every_command_has_a_real_verb_and_real_flags(page: str):
    for command in _commands(page):
        words = [word for word in shlex.split(command, comments=True)[1:] if word not in ("--offline", "--debug")]
        if words and words[0] not in ("--help", "--version"):
            _parse(words, command)


def test_every_verb_and_every_make_target_is_in_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")

    assert {verb for verb in cli.VERBS if f"`personatune {verb}" not in readme} == set()
    assert "\nmake demo\n" in readme
    assert "\nmake test\n" in readme


def test_every_make_target_exists(page: str):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    named = set(re.findall(r"`make ([a-z-]+)", page))
    named |= {target for block in _blocks(page, "sh") for target in re.findall(r"^make ([a-z-]+)", block, re.MULTILINE)}

    assert named <= targets


def test_python_in_the_pages_imports_what_there_is(page: str):
    for block in _blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("personatune"):
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_link_and_every_named_file_exists(path: Path):
    text = path.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    files = re.findall(r"\b((?:examples|recipes|benchmarks|tests)/[\w./-]+\.\w+)", text)

    assert [name for name in files if not (ROOT / name).exists()] == []
    for link in links:
        target, _, heading = link.partition("#")
        place = (path.parent / target).resolve() if target else path
        assert place.exists(), link
        if heading:
            assert heading in _headings(place.read_text("utf-8")), link


def _tree(text: str) -> Iterator[Path]:
    """The paths of the annotated tree, whose folders end in a slash and indent what is in them."""
    (tree,) = (block for block in _blocks(text, "text") if block.startswith("src/personatune/\n"))
    folders: list[Path] = []
    for line in tree.splitlines()[1:]:
        indent, name, about = re.fullmatch(r"( +)(\S+) +(\S.*)", line).groups()  # type: ignore[union-attr]
        assert about
        depth = len(indent) // 2 - 1
        path = Path(PACKAGE, *(folder.name for folder in folders[:depth]), name.rstrip("/"))
        if name.endswith("/"):
            folders[depth:] = [path]
        yield path


def _commands(text: str) -> Iterator[str]:
    """Commands in shell blocks and in `code`."""
    for block in _blocks(text, "sh"):
        yield from (line for line in block.splitlines() if line.startswith("personatune "))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (code for code in re.findall(r"`([^`\n]+)`", prose) if code.startswith("personatune "))


def _parse(words: list[str], command: str) -> None:
    """Bind the words as the command line would, without running anything."""
    assert words[0] in cli.VERBS, command
    app = importlib.import_module(f"personatune.cli.{cli.VERBS[words[0]][0]}").app
    rest = list(itertools.takewhile(lambda word: word != ">", words[1:]))
    if rest:  # in prose, the verb may stand alone
        app.parse_args(rest, exit_on_error=False, print_error=False)


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _headings(text: str) -> set[str]:
    """The anchors of a page's headings, as code forges make them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", ["tutorial.md", "how-to.md", "troubleshooting.md", "data.md"])
def test_what_is_typed_in_a_chat_is_a_command_of_the_chat(name: str):
    text = (ROOT / "docs" / name).read_text("utf-8")
    typed = set(re.findall(r"`(/[a-z]+)(?: [^`]*)?`", text)) | set(re.findall(r"^(/[a-z]+)", text, re.MULTILINE))

    assert typed
    assert typed - {command.split()[0] for command in COMMANDS} == set()


def test_what_the_program_is_quoted_with_stands_in_its_source():
    """In the troubleshooting a line that begins with `> ` is a message; dots stand for what differs."""
    said = "\n".join(_texts_of_source())
    text = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    quoted = re.findall(r"^> (.+)$", text, re.MULTILINE)
    pieces = [(line, piece.strip(" .,():")) for line in quoted for piece in re.split(r"\.{3,}", line)]

    assert len(quoted) > 20
    assert [line for line in quoted if max(map(len, re.split(r"\.{3,}", line))) < 8] == [], "says hardly anything"
    assert [line for line, piece in pieces if piece not in said] == []


def _texts_of_source() -> Iterator[str]:
    """Every text in the source, and the parts of those that are filled in."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        yield from (
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )
    for path in (ROOT / "web" / "src").rglob("*.ts"):
        yield path.read_text("utf-8")
