"""What is still unknown, and whether it is worth a question."""

from __future__ import annotations

from dataclasses import dataclass

from services.planner.brief import (
    DATASET_PATH,
    PROBLEM_PATH,
    QUESTIONS_MAX,
    TARGET_PATH,
    Brief,
)


@dataclass(frozen=True)
class Question:
    """One decision that the plan depends on."""

    field_path: str
    """Which field it decides."""
    text: str
    """The question in plain words."""
    reason: str
    """Why the answer matters."""
    options: tuple[str, ...] = ()
    """Answers to choose from; free text is taken too."""


PROBLEM = Question(
    PROBLEM_PATH,
    "What should the model do? One sentence is enough: what goes in, and what comes out.",
    "The problem decides whether fine-tuning is the right answer at all.",
)
DATASET = Question(
    DATASET_PATH,
    "Which examples should it learn from? Attach a dataset of messages with the answers you want.",
    "Without examples there is nothing to learn from and nothing to judge the result on.",
)
TARGET = Question(
    TARGET_PATH,
    "Which share of exactly right answers would make this worth deploying?",
    "It decides when the tuned model counts as a success, and whether prompting alone would do.",
    ("70 %", "80 %", "90 %", "You decide"),
)


def next_question(brief: Brief) -> Question | None:
    """Return the one question to ask now, or None when there is nothing left that matters.

    At most three are asked in a conversation, one at a time. Nothing is asked about
    infrastructure, nor what was said, nor what the dataset shows. The target alone can be
    left to the planner, so it alone is given up when the questions are used up.
    """
    if len(brief.questions) >= QUESTIONS_MAX:
        return None
    if not brief.problem:
        return PROBLEM
    if not brief.dataset:
        return DATASET
    if brief.target is None and not brief.target_delegated:
        return TARGET
    return None


def is_ready(brief: Brief) -> bool:
    """Return whether a plan can be made: nothing replaces a problem and a dataset."""
    return bool(brief.problem and brief.dataset)
