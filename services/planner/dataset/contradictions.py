"""Rows that give one prompt two labels."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.near_text import words
from services.planner.dataset.findings import Finding, found
from services.planner.dataset.labels import is_label, labels
from services.planner.dataset.near_duplicates import same_prompt
from services.planner.dataset.rows import RowView


def find(rows: Sequence[RowView]) -> list[Finding]:
    """Return a finding for each row whose prompt stands earlier with another label.

    Prompts are equal when their words are, and the system message too. Answers that are no labels
    may differ from row to row, so nothing is found among them.

    Args:
        rows: In the order of the file.
    """
    if not labels(rows) or same_prompt(rows):
        return []
    seen: dict[tuple[str, str], tuple[str, int]] = {}
    findings = []
    for row in rows:
        label = row.answer.strip()
        if not is_label(label):
            continue
        key = row.system.strip(), " ".join(words(row.prompt)) or row.prompt.strip()
        first, line = seen.setdefault(key, (label, row.line))
        if first != label:
            text = f"The prompt of line {line} has the label {label!r} here, and {first!r} there."
            findings.append(found("contradictory_labels", row.line, text, row.answer_field))
    return findings
