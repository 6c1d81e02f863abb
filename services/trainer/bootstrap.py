"""Paired bootstrap: is the tuned model better than its base, or cannot the rows tell? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

CELLS_MAX = 4_000_000
"""Drawn indices that are held at once, so that memory stays bounded."""


class Judgement(Enum):
    """The outcome of a comparison."""

    BETTER = "better"
    """The whole interval lies above zero."""
    WORSE = "worse"
    """The whole interval lies below zero."""
    CANNOT_TELL = "cannot tell"
    """The interval holds zero."""


@dataclass(frozen=True)
class Comparison:
    """Tuned against base on the same rows."""

    difference: float
    """Mean of tuned less base, in [-1, 1]."""
    interval_low: float
    interval_high: float
    judgement: Judgement


def compare(
    base: Sequence[float],
    tuned: Sequence[float],
    *,
    resample_count: int,
    confidence: float,
    seed: int,
) -> Comparison:
    """Compare two scorings of the same rows by the percentile bootstrap of their differences.

    Args:
        base: Scores of the base, one per row, in [0, 1]; at least one.
        tuned: Scores of the tuned model for the same rows in the same order.
        resample_count: How often the rows are drawn again.
        confidence: Of the interval, in (0, 1).
        seed: Equal seeds give equal intervals.
    """
    differences = np.asarray(tuned, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    row_count = len(differences)
    generator = np.random.default_rng(seed)
    batch = max(1, CELLS_MAX // row_count)
    means = []
    for start in range(0, resample_count, batch):
        size = (min(batch, resample_count - start), row_count)
        means.append(differences[generator.integers(0, row_count, size)].mean(axis=1))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail])
    judgement = Judgement.CANNOT_TELL
    if low > 0.0:
        judgement = Judgement.BETTER
    elif high < 0.0:
        judgement = Judgement.WORSE
    return Comparison(float(differences.mean()), float(low), float(high), judgement)
