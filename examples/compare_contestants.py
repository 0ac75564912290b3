"""Ask two contestants the suite's prompts with the same seeds, count what can be counted, write the report.

python examples/compare_contestants.py PERSONA_FOLDER base r1 --samples 1 --report report.html
"""

import argparse
from pathlib import Path

from personatune import Persona, evaluate, load, load_suite, open_contestant
from personatune.evaluation.evaluate import EvaluationOptions
from personatune.evaluation.report import ReportContext, write_report
from personatune.generation.contestants import Opening, check
from personatune.models.device import choose


def main() -> None:
    """Evaluate and print each signal for each contestant; none of them is a verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("persona", help="a persona folder")
    parser.add_argument("contestants", nargs="+", help="runs, base or prompted")
    parser.add_argument("--samples", type=int, help="replies for each prompt; left out, as the suite says")
    parser.add_argument("--report", type=Path, default=Path("report.html"))
    asked = parser.parse_args()

    persona = Persona.open(asked.persona)
    names = [check(persona, which) for which in asked.contestants]  # refused before anything slow is loaded
    evaluation = evaluate(
        (open_contestant(persona, name, Opening(choose())) for name in names),  # one model in memory at a time
        load_suite(persona.suite_file),
        conversations=load(persona.train_file),
        options=EvaluationOptions(samples=asked.samples),
    )
    for contestant in evaluation.contestants:
        for name, rate in contestant.signals.items():
            print(f"{contestant.name}  {name:<10} {rate.count} of {rate.n}")
    write_report(asked.report, evaluation, ReportContext(persona.character.name))
    print(f"now read the replies aloud: {asked.report}")


if __name__ == "__main__":
    main()
