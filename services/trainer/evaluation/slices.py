"""The comparison by kind of row: label, length of the prompt, language of the prompt. Pure.

A slice of few rows says little, so its interval stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.common.language import detect
from services.trainer.data.rows import Row
from services.trainer.evaluation.bootstrap import Figure, Resampling, difference
from services.trainer.evaluation.labels import are_labels

SLICES_MAX = 12
"""Of one dimension: the largest ones."""
ROWS_MIN = 5
"""Rows of a slice, below which it is not shown."""
TERCILE_ROWS_MIN = 15
"""Rows in all from which on prompts are parted by length."""
LENGTH = "length"
LENGTHS = ("short", "medium", "long")


@dataclass(frozen=True)
class Slice:
    """Rows of one kind, scored by the deciding grader."""

    dimension: str
    """`label`, `length` or `language`."""
    value: str
    """Such as the label, `short` or `de`; `und` for a language that cannot be told."""
    row_count: int
    base_score: float
    tuned_score: float
    difference: Figure


def slices(
    rows: Sequence[Row], base: Sequence[float], tuned: Sequence[float], how: Resampling
) -> list[Slice]:
    """Return the comparison for each kind of row of which there are enough.

    Args:
        rows: Scored by both.
        base: Scores, in the order of the rows.
        tuned: Likewise.
        how: The bootstrap.
    """
    found = []
    for dimension, values in _dimensions(rows).items():
        members: dict[str, list[int]] = {}
        for index, value in enumerate(values):
            members.setdefault(value, []).append(index)
        if len(members) < 2:
            continue
        large = [value for value, inside in members.items() if len(inside) >= ROWS_MIN]
        large.sort(key=LENGTHS.index if dimension == LENGTH else _size(members))
        for value in large[:SLICES_MAX]:
            inside = members[value]
            before = [base[index] for index in inside]
            after = [tuned[index] for index in inside]
            figure = difference(before, after, how)
            count = len(inside)
            one = Slice(dimension, value, count, sum(before) / count, sum(after) / count, figure)
            found.append(one)
    return found


def _size(members: Mapping[str, Sequence[int]]) -> Callable[[str], tuple[int, str]]:
    """Return the key that sorts the largest first."""
    return lambda value: (-len(members[value]), value)


def _dimensions(rows: Sequence[Row]) -> Mapping[str, Sequence[str]]:
    references = [row.reference for row in rows]
    found: dict[str, Sequence[str]] = {}
    if are_labels(references):
        found["label"] = references
    if len(rows) >= TERCILE_ROWS_MIN:
        found[LENGTH] = terciles([len(row.asked) for row in rows])
    found["language"] = [detect(row.asked) for row in rows]
    return found


def terciles(lengths: Sequence[int]) -> list[str]:
    """Return for each length whether it is `short`, `medium` or `long` among all.

    Equal lengths fall on one side.
    """
    ordered = sorted(lengths)
    limits = (ordered[len(ordered) // 3], ordered[2 * len(ordered) // 3])
    return [LENGTHS[sum(length >= limit for limit in limits)] for length in lengths]
