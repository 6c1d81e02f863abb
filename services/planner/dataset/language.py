"""In which languages the rows of a file are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from services.common.language import CHARACTERS_MAX, detect
from services.planner.dataset.rows import RowView

LANGUAGES_MAX = 10


def shares(rows: Iterable[RowView]) -> list[tuple[str, float]]:
    """Return the languages of rows with their share, most frequent first, at most 10.

    Args:
        rows: In any order; prompt and answer of each are one text.
    """
    counts = Counter(detect(f"{row.prompt[:CHARACTERS_MAX]}\n{row.answer}") for row in rows)
    total = counts.total()
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return [(language, count / total) for language, count in ordered[:LANGUAGES_MAX]]
