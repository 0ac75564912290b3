"""Say a few things to a contestant and stream its replies.

python examples/talk_to_run.py PERSONA_FOLDER --as r1 "Good morning!" "What did you have for breakfast?"
"""

import argparse

from personatune import Persona, open_contestant
from personatune.generation.contestants import Opening, check
from personatune.generation.engine import Sample
from personatune.generation.talk import Talk
from personatune.models.device import choose


def main() -> None:
    """Talk turn by turn, each reply on top of those before it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("persona", help="a persona folder")
    parser.add_argument("say", nargs="+", help="the user's turns")
    parser.add_argument("--as", dest="which", help="r1, base or prompted; left out, the newest run")
    asked = parser.parse_args()

    persona = Persona.open(asked.persona)
    contestant = open_contestant(persona, check(persona, asked.which), Opening(choose()))
    talk = Talk(contestant, contestant.params)
    for text in asked.say:
        print(f"you: {text}\n{persona.character.name}: ", end="")
        for piece in talk.say(text):
            if isinstance(piece, Sample):  # the last one: the whole reply with all that made it
                print(f"\n  [{piece.finish_reason}, {len(piece.token_ids)} tokens, seed {piece.params.seed}]")
            else:
                print(piece, end="", flush=True)


if __name__ == "__main__":
    main()
