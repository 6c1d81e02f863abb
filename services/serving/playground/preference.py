"""What a person thinks of the answers of an exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.common.errors import FailedPrecondition, Violation, invalid
from services.serving.playground.answer import Answer
from services.serving.playground.prompt import CHARACTERS_MAX

AUTHOR_CHARACTERS_MAX = 200


class Verdict(StrEnum):
    """Which answer is the good one."""

    BETTER = "BETTER"
    WORSE = "WORSE"
    ALL_BAD = "ALL_BAD"


@dataclass(frozen=True)
class Preference:
    """An opinion; a later one replaces it."""

    verdict: Verdict
    create_time: datetime
    answer_index: int = 0
    """Which answer is better or worse than each other one; without meaning for ALL_BAD."""
    corrected_answer: str = ""
    """What would have been right; empty when nobody said."""
    author: str = ""


def check_preference(preference: Preference, answers: Sequence[Answer]) -> None:
    """Refuse an opinion that breaks a rule.

    Raises:
        InvalidArgument: With every violation.
        FailedPrecondition: If the answer that it names did not come to its end.
    """
    found = []
    index = preference.answer_index
    names_one = preference.verdict is not Verdict.ALL_BAD
    if names_one and not 0 <= index < len(answers):
        text = f"{index}; the exchange has answers 0 to {len(answers) - 1}."
        found.append(Violation("preference.answer_index", "RANGE", text))
    if len(preference.corrected_answer) > CHARACTERS_MAX:
        count = len(preference.corrected_answer)
        text = f"{count:,} characters; at most {CHARACTERS_MAX:,}. Shorten it."
        found.append(Violation("preference.corrected_answer", "LENGTH", text))
    if len(preference.author) > AUTHOR_CHARACTERS_MAX:
        text = f"{len(preference.author)} characters; at most {AUTHOR_CHARACTERS_MAX}."
        found.append(Violation("preference.author", "LENGTH", text))
    if found:
        raise invalid(found)
    if names_one and answers[index].end is None:
        raise FailedPrecondition(
            f"Answer {index}, by {answers[index].model}, did not come to its end. Judge one that "
            "did, or ask again.",
            reason="ANSWER_NOT_ENDED",
            answer_index=str(index),
            model=answers[index].model,
        )
