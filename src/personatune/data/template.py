"""Chat templates from strangers: small programs, run in a sandbox that can neither reach out nor run away."""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from personatune.errors import ModelError

LONGEST = 256 << 10
"""Characters that a template may have; the longest known has a tenth of it."""
LARGEST = 8 << 20
"""Characters that a value in a template, or what it writes, may come to."""
WIDEST = 100_000
"""The largest number that may be given to a function: widths and counts."""
SECONDS = 3.0
"""How long one rendering may take; a usual one takes a thousandth of a second."""


class Bounded(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, in which no value grows past a limit."""

    intercepted_binops = frozenset({"+", "*", "**", "%", "//", "/", "-"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation])
        self.filters = {name: _bounded(name, function) for name, function in self.filters.items()}
        self.filters["tojson"] = _tojson
        self.globals["raise_exception"] = _refuse
        self.globals["strftime_now"] = lambda form: datetime.now().strftime(form)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute `left operator right`, unless that gets too large."""
        if operator == "*" and (_length(left) or _length(right)):
            times = next((value for value in (left, right) if isinstance(value, int)), 1)
            _fits(max(_length(left), _length(right)) * max(0, times))
        if operator == "+":
            _fits(_length(left) + _length(right))
        if operator == "**" and (abs(_number(left)) > WIDEST or abs(_number(right)) > 64):
            raise SecurityError("a power is too large")
        if operator == "%" and isinstance(left, str | bytes):
            raise SecurityError("texts are not put together so here")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function, unless a number given to it is too large."""
        _narrow((*args, *kwargs.values()))
        _grows(getattr(function, "__name__", ""), (getattr(function, "__self__", None), *args))
        done = super().call(context, function, *args, **kwargs)
        _fits(_length(done))
        return done

    def _generate(self, source: Any, *args: Any, **kwargs: Any) -> Any:
        # `~` is no operator to the sandbox: written as +, it is watched like one.
        for place in [source, *source.find_all(nodes.Node)]:
            for name, value in place.iter_fields():
                if isinstance(value, nodes.Concat):
                    setattr(place, name, _added(value))
                elif isinstance(value, list):
                    setattr(place, name, [_added(one) if isinstance(one, nodes.Concat) else one for one in value])
        return super()._generate(source, *args, **kwargs)


class _Generation(Extension):
    """`{% generation %}` marks what an assistant says; to a text it adds nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        """Take the body as it is."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def compiled(template: str) -> Any:
    """A template, ready to be filled. Raises `ModelError` for one that is too long or no template."""
    if len(template) > LONGEST:
        raise _unusable(f"it has {len(template):,} characters, where {LONGEST:,} are plenty")
    try:
        with _in_time():
            return Bounded().from_string(template)
    except (TemplateError, RecursionError, TimeoutError, ValueError) as error:
        raise _unusable(str(error) or type(error).__name__) from error


def fill(template: Any, values: Mapping[str, Any]) -> str:
    """The text of a compiled template. Raises `ModelError` when it runs too long or grows too large.

    A template's own refusal (`raise_exception`) is raised as `TemplateError`.
    """
    pieces, size = [], 0
    try:
        with _in_time():
            for piece in template.generate(**values):
                size += len(piece)
                _fits(size)
                pieces.append(piece)
    except (SecurityError, OverflowError, TimeoutError, RecursionError, MemoryError) as error:
        raise _unusable(str(error) or type(error).__name__) from error
    return "".join(pieces)


def refuse_runaway(template: str, roles: Mapping[str, str]) -> None:
    """Try a template on short and long talks. Raises `ModelError` when it runs away on one of them."""
    made = compiled(template)
    turn = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes."}]
    for messages in (turn[:1], turn, [{"role": "system", "content": "Be kind."}, *turn], turn * 100):
        for asked in (False, True):
            try:
                fill(made, {**roles, "messages": messages, "add_generation_prompt": asked})
            except ModelError:
                raise
            except Exception:  # what a template refuses, or does not know, is for those who use it to meet
                continue


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        _narrow((*args, *kwargs.values()))
        given = [value for value in args if _length(value) or value == ""]
        _grows(name, given if name == "replace" else given[::-1])
        done = function(*args, **kwargs)
        _fits(_length(done))
        return done

    called.__dict__.update(getattr(function, "__dict__", {}))  # what Jinja is to pass along
    return called


def _grows(name: str, values: Sequence[Any]) -> None:
    """Refuse what would get too large before it does: (text, old, new) of `replace`, (between, texts) of `join`."""
    if name == "replace" and len(values) >= 3 and all(isinstance(value, str) for value in values[:3]):
        _fits(len(values[0]) + (values[0].count(values[1]) if values[1] else len(values[0]) + 1) * len(values[2]))
    if name == "join":
        texts = next((value for value in values if isinstance(value, list | tuple)), ())
        between = next((value for value in values if isinstance(value, str)), "")
        _fits(sum(_length(text) or 20 for text in texts) + len(between) * len(texts))


def _added(concat: nodes.Concat) -> nodes.Expr:
    parts = [_added(one) if isinstance(one, nodes.Concat) else one for one in concat.nodes]
    texts = [nodes.Filter(one, "string", [], [], None, None, lineno=concat.lineno) for one in parts]
    whole: nodes.Expr = texts[0]
    for text in texts[1:]:
        whole = nodes.Add(whole, text, lineno=concat.lineno)
    return whole


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes | list | tuple | dict) else 0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _fits(length: int) -> None:
    if length > LARGEST:
        raise SecurityError(f"it grows past {LARGEST:,} characters")


def _narrow(values: Sequence[Any]) -> None:
    if any(isinstance(value, int | float) and abs(value) > WIDEST for value in values):
        raise SecurityError(f"it asks for more than {WIDEST:,} of something")


def _tojson(value: Any, indent: int | None = None, **_: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=min(indent, 16) if isinstance(indent, int) else None)
    _fits(len(text))
    return text


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _unusable(why: str) -> ModelError:
    return ModelError(
        f"the model's chat template is not run: {why.splitlines()[0][:200]}",
        fix="put the chat_template.jinja of a model that you trust into its folder",
    )


@contextmanager
def _in_time() -> Iterator[None]:
    """Raise `TimeoutError` in this thread when the block takes too long."""
    thread, over = threading.get_ident(), threading.Event()

    def stop() -> None:
        if not over.is_set():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_Late))

    watch = threading.Timer(SECONDS, stop)
    watch.daemon = True
    watch.start()
    try:
        yield
    except _Late:
        raise TimeoutError(f"it runs for more than {SECONDS:.0f} seconds") from None
    finally:
        over.set()
        watch.cancel()


class _Late(BaseException):
    """Breaks a rendering off."""
