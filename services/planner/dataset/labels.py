"""Whether the answers are labels, and how often each stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from services.planner.dataset.findings import Finding, found
from services.planner.dataset.rows import RowView

LABEL_CHARACTERS_MAX = 60
LABEL_WORDS_MAX = 6
LABEL_SHARE_LEAST = 0.95
"""Share of the answers that must look like labels."""
ROWS_PER_LABEL_LEAST = 1.5
"""Mean rows of a label: answers that hardly ever repeat are no labels, however short."""
NUMBERS_MAX = 11
"""Different numbers that can be a scale, 0 to 10; more of them are results."""
IMBALANCE_SHARE = 0.9
IMBALANCE_ROWS_LEAST = 50
_SHAPES = {"chat", "prompt_completion", "prompts_with_reference"}
_SENTENCE = re.compile(r"[.!?\u3002\uff01\uff1f]$")
_NUMBER = re.compile(r"[-+]?[\d.,]+%?")


def is_label(answer: str) -> bool:
    """Return whether an answer is short enough, and no sentence."""
    return (
        0 < len(answer) <= LABEL_CHARACTERS_MAX
        and "\n" not in answer
        and len(answer.split()) <= LABEL_WORDS_MAX
        and not (" " in answer and _SENTENCE.search(answer))
    )


def labels(rows: Sequence[RowView]) -> list[tuple[str, int]]:
    """Return the labels with their rows, most frequent first; empty when answers are no labels.

    Args:
        rows: In any order; rows of equal frequency stand in that of the alphabet.
    """
    if not rows or any(row.shape not in _SHAPES for row in rows):
        return []
    counts = Counter(row.answer.strip() for row in rows)
    total = len(rows)
    alike = sum(count for answer, count in counts.items() if is_label(answer))
    if alike < LABEL_SHARE_LEAST * total or total < ROWS_PER_LABEL_LEAST * len(counts):
        return []
    numbers = sum(bool(_NUMBER.fullmatch(answer)) for answer in counts)
    if numbers > NUMBERS_MAX and numbers > len(counts) / 2:
        return []
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def find(rows: Sequence[RowView]) -> list[Finding]:
    """Return the finding about a file in which one label has nearly all rows, or none."""
    counts = labels(rows)
    total = len(rows)
    if total < IMBALANCE_ROWS_LEAST or not counts or counts[0][1] < IMBALANCE_SHARE * total:
        return []
    label, count = counts[0]
    share = count / total
    text = f"{count:,} of {total:,} rows ({share:.0%}) have the label {label!r}."
    return [found("label_imbalance", 0, text, rows[0].answer_field)]
