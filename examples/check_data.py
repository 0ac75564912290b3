"""Load conversations and look at them before any training.

python examples/check_data.py CONVERSATIONS.jsonl
"""

import argparse

from personatune import load
from personatune.data.doctor import examine


def main() -> int:
    """Print the numbers and the findings; leave with 1 when training would refuse the data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="JSON lines: messages, or prompt / completion pairs")
    conversations = load(parser.parse_args().file)  # raises DataError naming file, line and what to do

    examination = examine(conversations)
    words = examination.reply_words
    print(f"{examination.rows} conversations, {examination.turns} turns")
    print(f"replies of {words.min} to {words.max} words, {words.median:.0f} in the middle, spread {words.spread:.2f}")
    for finding in examination.findings:
        print(f"\n{finding.level}: {finding.message}")
        print(f"  where: {', '.join(finding.places[:3]) or 'the whole data'}")
        print(f"  fix:   {finding.remedy}")
    return 1 if examination.of_level("error") else 0


if __name__ == "__main__":
    raise SystemExit(main())
