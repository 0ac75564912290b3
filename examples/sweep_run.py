"""Try generation parameters on a run, keep every reply, and say what moving each parameter does.

python examples/sweep_run.py PERSONA_FOLDER --as r1 --temperature 0.6 1.0 --prompts 5
"""

import argparse

from personatune import Persona, SweepPlan, load, sweep
from personatune.sweeping.report import report_of
from personatune.sweeping.run import Progress, SweepOptions


def follow(progress: Progress) -> None:
    """Print every tenth reply's number; a page would draw a bar."""
    if progress.made % 10 == 0:
        print(f"{progress.done} of {progress.total} replies")


def main() -> None:
    """Sweep; the same call goes on where an interrupted one stopped, and makes no reply twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("persona", help="a persona folder")
    parser.add_argument("--as", dest="which", help="r1 or base; left out, the newest run")
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.6, 1.0])
    parser.add_argument("--prompts", type=int, default=5)
    asked = parser.parse_args()

    persona = Persona.open(asked.persona)
    plan = SweepPlan(grid={"temperature": asked.temperature}, prompts=asked.prompts, samples=2)
    swept = sweep(persona, asked.which, plan, SweepOptions(on_progress=follow))
    report = report_of(swept, load(persona.train_file), character=persona.character.name, reference=asked.persona)
    for sentence in report.sentences:
        print("-", sentence.text)


if __name__ == "__main__":
    main()
