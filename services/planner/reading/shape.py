"""What shape the examples have that a message describes."""

from __future__ import annotations

from services.planner.reading.message import Message
from services.planner.vocabulary import Shape


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
    missing = message.says("signals", "no_demonstrations")
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
