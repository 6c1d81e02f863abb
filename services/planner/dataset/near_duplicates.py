"""Rows that say nearly the same as an earlier one."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.near_text import pairs
from services.planner.dataset.findings import Finding, found
from services.planner.dataset.rows import RowView

LIKENESS_LEAST = 0.8
"""One word changed in about twenty: `pairs` of services.common.near_text says what is measured."""


def find(rows: Sequence[RowView]) -> list[Finding]:
    """Return a finding for each row whose prompt nearly equals an earlier one's, answers equal.

    Rows that are equal throughout are not named: they are another finding. Nor is any row when all
    prompts are one, which is a finding about the file.

    Args:
        rows: In the order of the file.
    """
    if same_prompt(rows):
        return []
    groups = [(row.system, _spaced(row.answer), _spaced(row.rejected)) for row in rows]
    if all(row.shape == "text" for row in rows):
        groups = [("", "", "")] * len(rows)
    whole: dict[object, int] = {}
    first = [whole.setdefault(_content(row), index) for index, row in enumerate(rows)]
    found_rows: dict[int, int] = {}
    for earlier, later in pairs([key_text(row) for row in rows], LIKENESS_LEAST, groups):
        # An exact repeat of a row would be named again for all that the row is near to.
        if first[later] == later and first[earlier] != later:
            found_rows.setdefault(later, earlier)
    return [
        found(
            "near_duplicate_row",
            rows[later].line,
            f"Nearly the prompt of line {rows[earlier].line}, with the same answer.",
        )
        for later, earlier in sorted(found_rows.items())
    ]


def find_identical(rows: Sequence[RowView]) -> list[Finding]:
    """Return the finding about a file in which every row has the same prompt, or none."""
    if not same_prompt(rows):
        return []
    text = f"All {len(rows):,} rows have the same prompt."
    return [found("all_prompts_identical", 0, text, rows[0].prompt_field)]


def same_prompt(rows: Sequence[RowView]) -> bool:
    """Return whether every row has the same prompt, of at least two rows.

    Rows that are equal throughout are repeats, which is another finding.
    """
    if len(rows) < 2 or rows[0].shape == "text":
        return False
    prompt = rows[0].prompt
    if any(row.prompt != prompt for row in rows):
        return False
    return len({_content(row) for row in rows}) > 1


def key_text(row: RowView) -> str:
    """Return the text of a row that near equals are looked for in."""
    return row.answer if row.shape == "text" else row.prompt


def _content(row: RowView) -> object:
    return row.system, row.prompt, row.answer, row.rejected, row.texts


def _spaced(text: str) -> str:
    return " ".join(text.split())
