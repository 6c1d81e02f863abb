"""McNemar's exact test: do right and wrong answers change sides more in one direction? Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ROUNDING = 1e-9
"""Difference of two scores that says nothing."""


@dataclass(frozen=True)
class Changes:
    """How rows that are right or wrong changed."""

    gained_count: int
    """Rows that only the tuned model has right."""
    lost_count: int
    """Rows that only the base has right."""
    p_value: float
    """Chance of a split at least as uneven if both were equally good, in (0, 1]."""


def is_binary(*scorings: Sequence[float]) -> bool:
    """Return whether all scores are 0 or 1."""
    return all(score in (0.0, 1.0) for scores in scorings for score in scores)


def changed_count(base: Sequence[float], tuned: Sequence[float]) -> int:
    """Return of how many rows the scores differ, by more than rounding; any scores."""
    return sum(abs(after - before) > ROUNDING for before, after in zip(base, tuned, strict=True))


def changes(base: Sequence[float], tuned: Sequence[float]) -> Changes:
    """Return how rows changed sides; scores are 0 or 1, of the same rows in the same order."""
    pairs = list(zip(base, tuned, strict=True))
    gained = sum(after > before for before, after in pairs)
    lost = sum(after < before for before, after in pairs)
    return Changes(gained, lost, p_value(gained, lost))


def p_value(gained: int, lost: int) -> float:
    """Return the two-sided exact p-value: a fair coin thrown once for each row that changed."""
    thrown, fewer = gained + lost, min(gained, lost)
    if thrown == 0:
        return 1.0
    # In logarithms: the binomials of thousands of rows are beyond what a float holds.
    terms = (
        math.exp(
            math.lgamma(thrown + 1)
            - math.lgamma(count + 1)
            - math.lgamma(thrown - count + 1)
            - thrown * math.log(2)
        )
        for count in range(fewer + 1)
    )
    return min(1.0, 2.0 * math.fsum(terms))
