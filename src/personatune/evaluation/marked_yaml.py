"""YAML with line numbers, read safely: plain data only, bounded in size, depth and what aliases unfold to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from personatune.errors import DataError, from_os_error

MAX_BYTES = 1 << 18
MAX_DEPTH = 20
MAX_NODES = 50_000


@dataclass(frozen=True)
class MarkedYaml:
    """A YAML document as plain data, which knows the line of each part."""

    path: Path
    """The file."""
    data: Any
    """Dicts, lists, texts, numbers."""
    root: yaml.Node
    """The document with its marks."""

    def line(self, location: Sequence[str | int]) -> int:
        """The line, from 1, of the part that a path of keys and indices leads to, or of its parent."""
        node, line = self.root, _line(self.root)
        for step in location:
            child = _child(node, step)
            if child is None:
                break
            node, line = child
        return line

    def where(self, location: Sequence[str | int]) -> str:
        """`file:line` of a part, as errors name it."""
        return f"{self.path}:{self.line(location)}"


class _Shallow(yaml.SafeLoader):
    """Stops where a document gets too deep: what it costs to read on grows with every level."""

    def __init__(self, text: str, path: Path) -> None:
        super().__init__(text)
        self._path, self._depth = path, 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _too_deep(self._path, self.peek_event().start_mark.line + 1)  # type: ignore[no-untyped-call]
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def read_yaml(path: Path) -> MarkedYaml:
    """Read one YAML document. Raises `DataError` naming the file and, where there is one, the line."""
    text = _read_text(path)
    try:
        loader = _Shallow(text, path)
        root = loader.get_single_node()
        if root is None:
            raise DataError(f"{path.name} is empty", where=path, fix="write at least one case into it")
        _refuse_excess(root, path)
        data = loader.construct_document(root)
    except RecursionError as error:
        raise _too_deep(path) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DataError(
            f"{path.name} is not valid YAML: {error.problem or error.context}",
            where=f"{path}:{mark.line + 1}" if mark else path,
            fix="correct that line; texts with ':' or '#' need quotes",
        ) from error
    except yaml.reader.ReaderError as error:
        raise DataError(
            f"{path.name} holds the control character U+{ord(text[error.position]):04X}",
            where=f"{path}:{text.count(chr(10), 0, error.position) + 1}",
            fix="remove it",
        ) from error
    except ValueError as error:  # a date or a number that YAML recognises and Python refuses
        raise DataError(
            f"{path.name} holds a date or a number that cannot be read",
            where=f"{path}:{_line_of_unreadable(root) if root else 1}",
            fix="put it in quotes if it is a text",
        ) from error
    return MarkedYaml(path=path, data=data, root=root)


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():
            raise DataError(f"there is no suite {str(path)!r}", fix="check the path, or write one")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(
                f"{path.name} has {size:,} bytes; at most {MAX_BYTES:,} are read",
                where=path,
                fix="split it into several files",
            )
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise from_os_error(error, f"reading {path.name}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path.name} is not UTF-8 text", where=f"{path}:{line}", fix="save it as UTF-8") from error


def _refuse_excess(root: yaml.Node, path: Path) -> None:
    """Walk the document as aliases unfold it, and refuse what is too deep, too large or says a key twice."""
    left, pending = MAX_NODES, [(root, 1)]
    while pending:
        node, depth = pending.pop()
        left -= 1
        if depth > MAX_DEPTH:
            raise _too_deep(path, _line(node))
        if left < 0:
            raise DataError(
                f"{path.name} unfolds to more than {MAX_NODES:,} values",
                where=f"{path}:{_line(node)}",
                fix="write fewer cases, and no aliases of aliases",
            )
        if isinstance(node, yaml.MappingNode):
            _refuse_doubles(node, path)
            pending += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            pending += [(part, depth + 1) for part in node.value]


def _refuse_doubles(node: yaml.MappingNode, path: Path) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                raise DataError(
                    f"{path.name} says {key.value!r} twice in one place",
                    where=f"{path}:{_line(key)}",
                    fix="keep one of them",
                )
            seen.add(key.value)


def _line_of_unreadable(root: yaml.Node) -> int:
    constructor, pending = yaml.SafeLoader(""), [root]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.ScalarNode):
            try:
                constructor.construct_object(node)
            except ValueError:
                return _line(node)
        elif isinstance(node, yaml.MappingNode):
            pending += [part for pair in node.value for part in pair]
        else:
            pending += node.value
    return _line(root)


def _too_deep(path: Path, line: int | None = None) -> DataError:
    return DataError(
        f"{path.name} is nested more than {MAX_DEPTH} levels deep",
        where=f"{path}:{line}" if line else path,
        fix="a suite needs five levels: cases, a case, its checks, a check, its values",
    )


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return value, _line(key)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
        return node.value[step], _line(node.value[step])
    return None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
