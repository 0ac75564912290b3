"""The command tree: parse, call one function, print the result. One module a verb, loaded when it is asked for."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from personatune import errors, settings

# verb -> (module, one line of help)
VERBS = {
    "new": ("new", "make a persona folder: built in, from a conversations file, or from a few example rows"),
    "data": ("data", "import, check and export conversations; vary their lengths; compare two versions of them"),
    "train": ("train", "teach a model to talk like the persona; the same command continues after an interruption"),
    "plan": ("plan", "train many: personas x recipes x seeds from one file, some at a time, or on a Ray cluster"),
    "chat": ("chat", "talk to a run (pip@r1), the untrained model (pip@base) or its prompted rival (pip@prompted)"),
    "evaluate": ("evaluate", "ask the suite's prompts, measure what can be measured, write an HTML report"),
    "sweep": ("sweep", "try generation parameters, keep every reply, see what moving each one does"),
    "use": ("use", "choose a run's generation parameters, by hand or as a point of a sweep"),
    "signals": ("signals", "measure replies that exist already: cut off, looping, copied, out of character, off topic"),
    "fix": ("fix", "correct a reply (pip@s12): what it should have said becomes a row of the training data"),
    "compare": ("compare", "ask contestants the same prompts and seeds, and show the replies side by side"),
    "judge": ("judge", "hear blind pairs and say which sounds more like the character, until a verdict is clear"),
    "compare-models": ("compare_models", "train the same data and recipe on several models, then compare them"),
    "export": (
        "export",
        "a run as a web page, for llama.cpp, Ollama or transformers, compared with the run before it counts",
    ),
    "runs": ("runs", "list runs; show one, compare two, trace where a reply came from"),
    "studio": ("studio", "the whole loop in the browser, on this machine only"),
    "jobs": ("jobs", "long commands that run or wait: list them, stop one"),
    "doctor": ("doctor", "look at this machine: devices, memory, versions, models; and what to fix"),
    "demo": ("demo", "train a built-in character and show the same prompts answered before and after"),
}
_GLOBAL = """\
Everywhere:
  --offline     never open a connection, not even to ask a model hub
  --debug       show the Python traceback of an error
  --version     print the version
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what the terminal cannot show, or no text, must not end a command
    result = os.environ.pop(settings.JOB_RESULT, None)  # a job of the queue: `jobs.worker` may be gone when it ends
    if result:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a studio begun in the background had it ignored
    code = run(list(sys.argv[1:] if argv is None else argv))
    if result:
        with contextlib.suppress(OSError):
            Path(result).write_text(str(code), encoding="ascii")
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run one command; return its exit code.

    0; 1 for an error; 2 for a wrong command line; 70 for a fault of ours; 130 when interrupted; 141 when the
    reader of a pipe has gone.
    """
    words = [word for word in argv if word not in ("--offline", "--debug")] or ["--help"]
    if words[0] == "help":
        words = [*words[1:2], "--help"]
    settings.apply(offline="--offline" in argv)
    try:
        code = _obey(words[0], words[1:])
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        _say("\ninterrupted")
        return 130
    except BrokenPipeError:
        _forget_unwritten()
        return 141
    except Exception as error:
        if "--debug" in argv:
            raise
        _forget_unwritten()
        if settings.follows() and _is_said_by_the_first(error):
            return 1
        return _explain(error, words[0])


def _obey(verb: str, words: list[str]) -> int:
    """Do what one command line says; return the exit code."""
    if verb in ("--help", "-h"):
        sys.stdout.write(overview())
        return 0
    if verb == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"personatune {version('personatune')}\n")
        return 0
    if verb not in VERBS:
        from personatune.cli.flags import near_command

        near = near_command(verb, VERBS)
        fix = f"did you mean: personatune {near}" if near else "personatune --help"
        raise errors.UsageError(f"there is no command {verb!r}", fix=fix)
    app = importlib.import_module(f"personatune.cli.{VERBS[verb][0]}").app
    app.help_format = "plaintext"  # for markdown, a parser and a highlighter would be loaded first
    if words and len(list(app)) > 2:
        from personatune.cli.flags import near_command

        if near := near_command(words[0], app):
            raise errors.UsageError(
                f"personatune {verb} knows no {words[0]!r}, and there is no such folder",
                fix=f"did you mean: personatune {verb} {near}",
            )
    result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    return result if isinstance(result, int) else 0


def overview() -> str:
    """The help of the whole program, without loading any of it."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {line}" for verb, (_, line) in VERBS.items())
    return (
        "Teach a small language model to talk like one character, on your own computer.\n\n"
        f"Usage: personatune COMMAND [...]\n\nCommands:\n{verbs}\n\n{_GLOBAL}\n"
        "personatune COMMAND --help explains a command. Begin with: personatune demo\n"
    )


def _explain(error: Exception, verb: str) -> int:
    """Print any error as what, where and the way out; return the exit code."""
    if isinstance(error, errors.PersonatuneError):
        _say(f"error: {error}")
        return error.exit_code
    if type(error).__module__.startswith("cyclopts"):
        from personatune.cli.flags import explained

        _say(f"error: {explained(error)}\n  fix: personatune {verb} --help")
        return 2
    if isinstance(error, OSError) and error.errno is not None:
        _say(f"error: {errors.from_os_error(error, f'running personatune {verb}')}")
        return 1
    if "No space left on device" in str(error):  # libraries wrap the system's error in their own
        _say(f"error: {errors.from_os_error(OSError(errno.ENOSPC, 'full'), f'running personatune {verb}')}")
        return 1
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "alloc" in str(error)[:200]:
        _say(
            "error: the machine ran out of memory\n  fix: --batch-size 1, a smaller --max-tokens, or a smaller --model"
        )
        return 1
    if isinstance(error, ModuleNotFoundError):
        _say(
            f"error: the Python package {error.name!r} is not installed\n"
            "  fix: python -m pip install 'personatune[train]'"
        )
        return 1
    first = str(error).strip().splitlines()[0][:300] if str(error).strip() else ""
    _say(
        f"error: personatune met something it does not know: {type(error).__name__}: {first}\n"
        f"  fix: please report it with the output of the same command and --debug"
    )
    return 70


def _is_said_by_the_first(error: Exception) -> bool:
    """Whether the first of several processes meets and says the same; or it has gone, and the others miss it."""
    ours = isinstance(error, errors.PersonatuneError) or type(error).__module__.startswith("cyclopts")
    return ours or "onnection" in str(error)


def _forget_unwritten() -> None:
    """Let go of what cannot be written, or Python would try, and complain, once more on its way out."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
