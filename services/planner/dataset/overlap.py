"""Rows whose prompt also stands in the file that is held out."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.near_text import pairs
from services.planner.dataset.findings import Finding, found
from services.planner.dataset.near_duplicates import key_text
from services.planner.dataset.rows import RowView

LIKENESS_LEAST = 0.9
"""One word changed in about forty. Stricter than for near duplicates: this is an error, and rows
made from one mould are alike in most words without asking the same."""


def find(rows: Sequence[RowView], holdout_rows: Sequence[RowView]) -> list[Finding]:
    """Return a finding for each row whose prompt stands, or nearly stands, in the hold-out.

    The system message takes part only where it differs within one of the files: one that every row
    has says nothing about the row.

    Args:
        rows: To be learnt, in the order of their file.
        holdout_rows: Never learnt.
    """
    fixed = len({row.system for row in rows}) < 2 and len({row.system for row in holdout_rows}) < 2
    keys = ["" if fixed else row.system for row in (*holdout_rows, *rows)]
    texts = [" ".join(key_text(row).split()) for row in (*holdout_rows, *rows)]
    held: dict[tuple[str, str], int] = {}
    for row, key, text in zip(holdout_rows, keys, texts, strict=False):
        held.setdefault((key, text), row.line)
    count = len(holdout_rows)
    exact = {
        index: held[keys[index], texts[index]]
        for index in range(count, len(texts))
        if texts[index] and (keys[index], texts[index]) in held
    }
    near: dict[int, int] = {}
    for earlier, later in pairs(texts, LIKENESS_LEAST, keys, border=count):
        if later < count or later in exact:
            continue
        if earlier < count:
            near.setdefault(later, holdout_rows[earlier].line)
        elif earlier in near:
            # It has the same words as a row that is near.
            near.setdefault(later, near[earlier])
    findings = []
    for index, row in enumerate(rows, count):
        if index in exact:
            text = f"The prompt also stands in line {exact[index]} of the hold-out."
            findings.append(found("train_test_overlap", row.line, text))
        elif index in near:
            text = f"The prompt is nearly that of line {near[index]} of the hold-out."
            findings.append(found("train_test_near_overlap", row.line, text))
    return findings
