"""Learnt or learnt by heart: rows that were taught against rows that were not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.trainer.evaluation.bootstrap import Figure, Resampling, gap

ROWS_MAX = 50
"""Training rows that are answered: an extra pass must not double the phase."""
GAP_MAX = 0.1
"""Gap that the whole interval must exceed, on the side of taught rows doing better, to count as
overfit: a choice of ours."""


@dataclass(frozen=True)
class Overfit:
    """Score on taught rows less score on unseen ones."""

    training_row_count: int
    training_score: float
    gap: Figure
    is_overfit: bool
    sentence: str


def overfit(
    taught: Sequence[float],
    unseen: Sequence[float],
    how: Resampling,
    *,
    lower_is_better: bool = False,
) -> Overfit | None:
    """Compare the tuned model's scores on both kinds of rows; None without rows of a kind."""
    if not taught or not unseen:
        return None
    found = gap(taught, unseen, how)
    score = sum(taught) / len(taught)
    is_overfit = found.high < -GAP_MAX if lower_is_better else found.low > GAP_MAX
    told = (
        f"The tuned model scores {score:.3f} on {len(taught)} rows that it was taught, "
        f"{found.value:+.3f} against unseen ones ({found.low:+.3f} to {found.high:+.3f})"
    )
    end = ": it has learnt rows by heart." if is_overfit else "."
    return Overfit(len(taught), score, found, is_overfit, told + end)
