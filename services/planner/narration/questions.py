"""Questions in words, and what is said when no more may be asked."""

from __future__ import annotations

from collections.abc import Sequence

from services.planner.brief import DATASET_PATH, PROBLEM_PATH, TARGET_PATH
from services.planner.narration import figures
from services.planner.narration.notices import block
from services.planner.narration.reply import joined, opened
from services.planner.narration.templates import fill, has, spoken
from services.planner.narration.terms import field_name
from services.planner.plan.notices import Note
from services.planner.plan.policy import Question

VARIANTS = {TARGET_PATH: "exact", "limits": "conflict"}
"""By field path of a question: its own wording within its topic."""
LACKING = {
    "data": "lacking_data",
    DATASET_PATH: "lacking_data",
    "objective": "lacking_objective",
    PROBLEM_PATH: "lacking_objective",
}
"""By topic or field path: what is said when it stays unknown."""


def ask(question: Question, notes: Sequence[Note | str], language: str) -> str:
    """Word a question with why it is asked, and before it what there is to say already."""
    text, reason, _ = question_text(question, language)
    return opened(language, block(notes, language), joined(language, text, reason))


def question_text(question: Question, language: str) -> tuple[str, str, tuple[str, ...]]:
    """Return a question, why it is asked, and its options, each in words.

    Args:
        question: Its options are keys, shares such as `0.8`, or words of its own.
        language: ISO 639-1; English stands in for one without templates.
    """
    key = f"questions.{question.topic}"
    variant = f"{key}.{VARIANTS.get(question.field_path, '')}"
    if has(variant):
        key = variant
    options = tuple(_option(option, language) for option in question.options)
    return fill(key, language), fill(f"{key}.why", language), options


def lacking(missing: str, notes: Sequence[Note | str], language: str) -> str:
    """Word what is missing when no more questions may be asked.

    Args:
        missing: A topic such as `data`, or the path of a field.
        notes: What else there is to say.
        language: ISO 639-1.
    """
    key = LACKING.get(missing, "lacking_other")
    what = field_name(missing, spoken(language))
    text = fill(f"replies.{key}", language, {"what": what})
    return opened(language, block(notes, language), text)


def _option(option: str, language: str) -> str:
    key = f"questions.option.{option}"
    if has(key):
        return fill(key, language)
    share = figures.parsed(option)
    if share is not None and 0 < share <= 1:
        return figures.percent(share, spoken(language))
    return figures.shortened(option)
