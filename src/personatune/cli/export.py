"""personatune export: a run as files for other programs, compared with the run before it counts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from personatune.errors import UsageError

LEAST = 256
"""Every byte needs a token."""

app = App(name="personatune export", version_flags=[])


@app.default
def export(
    run: str,
    /,
    *,
    to: Literal["gguf", "ollama", "onnx", "web", "hf"],
    quantization: str | None = None,
    vocab: str | None = None,
    with_: Annotated[tuple[str, ...], Parameter(name="--with", negative="")] = (),
    output: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Write a run for other programs, as in: personatune export pip@r1 --to ollama.

    What was written is read back and compared with the run: how texts are split, probabilities on held-out replies,
    the likeliest replies, a prompt past the model's window, whether replies end. An export that is too far from the
    run is refused, and the one before it stays. The same command goes on after an interruption.

    Parameters
    ----------
    run
        As in pip@r1; pip alone means its newest run.
    to
        gguf (llama.cpp and what is built on it), ollama (the same with a Modelfile), onnx (onnxruntime, and pages with
        Transformers.js), web (a page that talks in any browser, with nothing behind it), hf (transformers).
    quantization
        How weights are kept. gguf and ollama: q8 unless told otherwise, or q4, f16, bf16, f32; onnx: q8, or
        f32; web: q8; hf: bf16, or f32.
    vocab
        How many tokens to keep, as in 65536 or 64k; left out, those that the run has. What that loses is measured.
        A run that was trained with the smaller vocabulary loses less.
    with_
        With --to web: another character for the same page, as in keeper@r2. Can be given more than once.
    output
        The folder to write; left out, one in exports/ of the persona's folder.
    json_
        Print one JSON object: the export's manifest.
    """
    from personatune.cli.console import err, out, print_json
    from personatune.cli.references import parse
    from personatune.export import export as exporting
    from personatune.terminal.export_report import ExportProgress, print_export

    persona, which = parse(run)
    wish = exporting.Wish(to, quantization, output, _tokens(vocab), tuple(parse(one) for one in with_))
    with ExportProgress(err()) as progress:
        made = exporting.export(persona, which, wish, progress)
    if json_:
        print_json({**made.manifest, "folder": str(made.folder), "artefact": made.artefact, "new": made.new})
    else:
        print_export(made, out())
    if made.parity is None:
        missing = exporting.target_of(to).missing
        err().print(
            "error: the export is written, but could not be compared with the run: the program to read it back is not "
            f"installed\n  at:  {made.folder}\n  fix: {missing}   then run the same command again: personatune export "
            f"{shlex.quote(run)} --to {to}",
            markup=False,
            soft_wrap=True,
        )
        return 1
    return 0


def _tokens(vocab: str | None) -> int | None:
    """A size of a vocabulary as people write it; None for the whole one."""
    if vocab is None or vocab == "full":
        return None
    found = re.fullmatch(r"([0-9]{1,7})(k?)", vocab.strip().lower())
    size = int(found[1]) * (1024 if found[2] else 1) if found else 0
    if size < LEAST:
        raise UsageError(f"--vocab {vocab}: that is no size of a vocabulary", fix="--vocab 65536, 64k, 32768 or full")
    return size
