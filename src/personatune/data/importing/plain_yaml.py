"""YAML from strangers: texts, lists and mappings only, bounded in size, depth and what aliases unfold to."""

from __future__ import annotations

from typing import Any

import yaml

from personatune.errors import DataError

MAX_CHARACTERS = 1 << 18
"""The longest document that is read; the reader is slow."""
_MAX_DEPTH = 20
_MAX_NODES = 20_000


class _Shallow(yaml.BaseLoader):
    """Stops where a document gets too deep: what it costs to read on grows with every level."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self._name, self._depth = name, 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise _too_much(self._name, line, f"is nested more than {_MAX_DEPTH} levels deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def read_yaml(text: str, name: str) -> Any:
    """The document, every scalar as text; tags mean nothing. Raises `DataError` naming the line."""
    if len(text) > MAX_CHARACTERS:
        raise DataError(
            f"{name} has {len(text):,} characters; of YAML at most {MAX_CHARACTERS:,} are read",
            where=name,
            fix="shorten it: no character is so long",
        )
    try:
        loader = _Shallow(text, name)
        root = loader.get_single_node()
        if root is None:
            raise DataError(f"{name} is empty", where=name, fix="name another file")
        _refuse_excess(root, name)
        return loader.construct_document(root)
    except RecursionError as error:
        raise DataError(
            f"{name} is nested too deeply", where=name, fix="a character needs one level of keys"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DataError(
            f"{name} is not valid YAML: {error.problem or error.context}",
            where=f"{name}:{mark.line + 1}" if mark else name,
            fix="correct that line; texts with ':' or '#', or that begin with '{', need quotes",
        ) from error
    except yaml.YAMLError as error:
        raise DataError(
            f"{name} is not valid YAML: {' '.join(str(error).split())[:200]}",
            where=name,
            fix="remove control characters",
        ) from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} is not valid YAML", where=name, fix="put its texts in quotes") from error


def _refuse_excess(root: yaml.Node, name: str) -> None:
    left, pending = _MAX_NODES, [(root, 1)]
    while pending:
        node, depth = pending.pop()
        left -= 1
        if depth > _MAX_DEPTH:
            raise _too_much(name, node.start_mark.line + 1, f"is nested more than {_MAX_DEPTH} levels deep")
        if left < 0:
            raise _too_much(name, node.start_mark.line + 1, f"unfolds to more than {_MAX_NODES:,} values")
        if isinstance(node, yaml.MappingNode):
            pending += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            pending += [(part, depth + 1) for part in node.value]


def _too_much(name: str, line: int, what: str) -> DataError:
    return DataError(
        f"{name} {what}", where=f"{name}:{line}", fix="a character needs one level of keys, and no aliases of aliases"
    )
