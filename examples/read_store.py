"""Read a persona's record: its runs, the latest replies, and what one of them was made from.

python examples/read_store.py PERSONA_FOLDER --last 3
"""

import argparse

from personatune import Persona, Store
from personatune.store.lineage import ancestors
from personatune.store.records import SampleFilter


def main() -> None:
    """List runs and samples; every row keeps the ids of its parents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("persona", help="a persona folder")
    parser.add_argument("--last", type=int, default=3, help="how many samples to show")
    asked = parser.parse_args()

    with Store.open(Persona.open(asked.persona).store_file) as store:
        for run in store.runs():
            heldout = run.manifest.get("heldout", {})
            print(f"{run.name} {run.status}, {run.model}, held-out loss {heldout.get('nll_after')}")
        samples = store.samples(SampleFilter(limit=asked.last))
        for sample in samples:
            print(f"\n{sample.id} {sample.contestant}, {sample.origin}, {sample.finish_reason}")
            print(f"  {sample.messages[-1].content}\n  > {sample.reply}")
        if samples:
            print("\nthe last one was made from:")
            for node in ancestors(store, samples[-1].id)[1:]:
                print(f"  {node.kind} {node.id[:12]}: {node.about}")


if __name__ == "__main__":
    main()
