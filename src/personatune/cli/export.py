"""personatune export: a run as files for other programs, compared with the run before it counts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

app = App(name="personatune export", version_flags=[])


@app.default
def export(
    run: str,
    /,
    *,
    to: Literal["gguf", "ollama", "onnx", "hf"],
    quantization: str | None = None,
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
        Transformers.js), hf (transformers).
    quantization
        How weights are kept. gguf and ollama: q8 unless told otherwise, or f16, bf16, f32; onnx: q8, or f32;
        hf: bf16, or f32.
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
    with ExportProgress(err()) as progress:
        made = exporting.export(persona, which, exporting.Wish(to, quantization, output), progress)
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
