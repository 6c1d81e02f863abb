"""Answers that begin alike, whatever was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from services.common.near_text import words
from services.planner.dataset.findings import Finding, found
from services.planner.dataset.rows import RowView

OPENING_WORDS = 6
ANSWER_WORDS_LEAST = 10
"""Shorter answers are labels, names and numbers, which may repeat."""
ROWS_LEAST = 10
SHARE_LEAST = 0.2
"""Our own bound: below it an opening is a habit, above it the model will open every answer so."""
_SHAPES = {"chat", "prompt_completion", "preference"}
_STRUCTURED = ("{", "[", "<", "```")


def find(rows: Sequence[RowView]) -> list[Finding]:
    """Return the finding about a file in which many answers open with the same words, or none.

    Answers that are JSON, code or mark-up open alike by their form, so they do not count.
    """
    if not rows or rows[0].shape not in _SHAPES:
        return []
    openings: Counter[str] = Counter()
    for row in rows:
        answer = row.answer.lstrip()
        if answer.startswith(_STRUCTURED):
            continue
        start = words(answer[:400])
        if len(start) >= ANSWER_WORDS_LEAST:
            openings[" ".join(start[:OPENING_WORDS])] += 1
    if not openings:
        return []
    _, count = openings.most_common(1)[0]
    if count < ROWS_LEAST or count < SHARE_LEAST * len(rows):
        return []
    text = f"{count:,} of {len(rows):,} answers begin with the same {OPENING_WORDS} words."
    return [found("boilerplate_answers", 0, text, rows[0].answer_field)]
