"""Forgetting: whether a contestant still answers short general questions that the untrained base answers.

Definition: twenty questions with one short right answer, asked greedily (temperature 0, no repetition penalty, 32
tokens) of both. Right when the reply holds an accepted answer as words, folded, and none of the wrong ones where the
question names both. The two are compared question by question with McNemar's exact test. A remark when its p-value is
below 0.05 with more lost than gained, or five or more answers were lost and none was gained; and when the base has
fewer than five right, a remark that nothing can be said.
Source: McNemar 1947, in its exact form; forgetting after fine-tuning on little data as reported for LoRA.
Calibration: lost 5 and gained 0 has p = 0.06, lost 6 and gained 0 has 0.03; 14 right of 20 has an interval of 48 % to
86 %, so single answers say nothing. An echo of a question is never right.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Literal

from personatune.evaluation.signals.paired import asked_prompts, beside
from personatune.evaluation.signals.set_level import AskedPrompt, Figure
from personatune.evaluation.words import folded
from personatune.generation.engine import Sample
from personatune.generation.params import GenerationParams

LEAST_KNOWN = 5


class Forgetting:
    """Short general questions, beside the untrained base."""

    name: ClassVar[str] = "forgetting"
    title: ClassVar[str] = "General knowledge"
    meaning: ClassVar[str] = (
        "Twenty short questions with one right answer, asked of everybody without chance, compared one by one with "
        "the untrained base. A character may well answer in another way on purpose."
    )
    kind: ClassVar[Literal["general"]] = "general"
    params: ClassVar[GenerationParams] = GenerationParams(temperature=0.0, repetition_penalty=1.0, max_new_tokens=32)

    @cached_property
    def prompts(self) -> tuple[AskedPrompt, ...]:
        """The questions."""
        return asked_prompts("general.json", self.kind)

    def figures(self, samples: Sequence[Sample], base: Sequence[Sample] | None) -> tuple[Figure, ...]:
        """The share that is right, beside the base's."""
        ours = [is_right(prompt, sample.reply) for prompt, sample in zip(self.prompts, samples, strict=True)]
        theirs = [is_right(prompt, one.reply) for prompt, one in zip(self.prompts, base or (), strict=bool(base))]
        pair = beside(ours, theirs)
        remark = None
        if theirs and sum(theirs) < LEAST_KNOWN:
            remark = (
                f"The untrained base answers only {sum(theirs)} of {len(theirs)} short questions rightly: too few "
                "to say whether the training made it forget."
            )
        elif pair.surely_lost:
            remark = (
                f"Answers {sum(ours)} of {len(ours)} short general questions rightly, the untrained base "
                f"{sum(theirs)}: {pair.lost} lost, {pair.gained} gained (p = {pair.p:.2g})."
            )
        places = (place for place, right in enumerate(ours) if not right and (not theirs or theirs[place]))
        return (pair.figure("general_right", "Short questions answered rightly", remark, tuple(places)),)


def is_right(prompt: AskedPrompt, reply: str) -> bool:
    """Whether a reply holds an accepted answer, and no wrong one where the question names both."""
    said = f" {folded(reply)} "

    def holds(answer: str) -> bool:
        return f" {folded(answer)} " in said

    return any(map(holds, prompt.accept)) and not any(map(holds, prompt.reject))
