"""What shape the examples have that a message describes."""

from __future__ import annotations

import re

from services.planner.reading.message import Message
from services.planner.reading.outputs import TEXT_NOUNS
from services.planner.vocabulary import Shape

NO_SUCCESS = 0.1
"""Below it a check has nothing to reward (rule T5)."""
NO_TEXTS = re.compile(
    rf"\b(?:no|not (?:one|a single|any)|zero|0|without(?: any| a)?|lacking) (?:[\w-]+ ){{0,2}}?"
    rf"(?:{TEXT_NOUNS}|quer(?:y|ies)|programs?|solutions?|implementations?|proofs?|derivations?)"
    r"(?=\s*(?:[.;)!]|$|, |(?:yet|so far|at all|exist\w*|written|to (?:imitate|copy|learn|show)|"
    r"available|and|but|though|whatsoever)\b))"
)
"""Texts that are said not to exist: what a model is to write has no examples."""


def lacks_answers(message: Message) -> bool:
    """Return whether there are no model answers, and none will be written."""
    if message.says("signals", "no_demonstrations"):
        return True
    return bool(message.language == "en" and NO_TEXTS.search(message.folded))


def read_shape(
    message: Message, count: int, megabytes: float | None, technique: str
) -> Shape | None:
    """Return the shape that was described; None when none was.

    Args:
        message: What was said.
        count: Rows that it speaks of; 0 when it names no number.
        megabytes: Size of a body of text; None when none was described.
        technique: The one that was named, may be empty.
    """
    has = {shape: message.says("shapes", shape.value) for shape in Shape}
    if technique == "DPO" and not message.says("conflicts", "one_answer"):
        has[Shape.PAIRS] = has[Shape.PAIRS] or count > 0
    missing = lacks_answers(message)
    if message.says("signals", "not_checkable"):
        has[Shape.PROMPTS_WITH_CHECK] = False
        technique = "" if technique == "RLVR" else technique
    rubric = message.says("signals", "rubric_agreed")
    if has[Shape.RATINGS] and not (has[Shape.PAIRS] and technique == "DPO"):
        return Shape.RATINGS
    if has[Shape.PAIRS] and not (missing and rubric):
        return Shape.PAIRS
    if missing:
        return Shape.PROMPTS_WITH_CHECK if has[Shape.PROMPTS_WITH_CHECK] else Shape.PROMPTS
    if has[Shape.PROMPTS] and not has[Shape.DEMONSTRATIONS]:
        return Shape.PROMPTS_WITH_CHECK if has[Shape.PROMPTS_WITH_CHECK] else Shape.PROMPTS
    if has[Shape.NONE] and count < 10 and not has[Shape.DEMONSTRATIONS]:
        return Shape.NONE
    if megabytes is not None or technique == "pretraining":
        return Shape.TEXT
    checked = has[Shape.PROMPTS_WITH_CHECK]
    if has[Shape.DEMONSTRATIONS] and (count or not has[Shape.TEXT]):
        return Shape.PROMPTS_WITH_CHECK if technique == "RLVR" else Shape.DEMONSTRATIONS
    if checked and count:
        return Shape.PROMPTS_WITH_CHECK
    if count and message.says("shapes", "demonstrations_loose"):
        return Shape.PROMPTS_WITH_CHECK if technique == "RLVR" else Shape.DEMONSTRATIONS
    if has[Shape.TEXT]:
        return Shape.TEXT
    if count and (technique or message.says("shapes", "demonstrations_weak")):
        if technique == "RLAIF":
            return Shape.PROMPTS
        return Shape.PROMPTS_WITH_CHECK if technique == "RLVR" else Shape.DEMONSTRATIONS
    return None


def shape_to_start(
    message: Message, shape: Shape | None, base_success: float | None
) -> Shape | None:
    """Return what the first stage learns from: demonstrations, where a check finds no success.

    Args:
        message: What was said.
        shape: What was described.
        base_success: Share that the base model gets right; None when nothing was said.
    """
    if shape is not Shape.PROMPTS_WITH_CHECK or base_success is None or lacks_answers(message):
        return shape
    shown = any(message.says("shapes", f"demonstrations{kind}") for kind in ("", "_loose"))
    return Shape.DEMONSTRATIONS if shown and base_success < NO_SUCCESS else shape
