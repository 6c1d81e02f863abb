"""What a hold-out of a given size can tell; the split itself is made by the trainer."""

from __future__ import annotations

from math import sqrt

CONFIDENCE_Z = 1.96
"""Standard normal quantile for 95 % confidence, two-sided."""
DISAGREEMENT = 0.25
"""Assumed share of rows that one model gets right and the other wrong."""


def minimum_detectable_difference(holdout_row_count: int) -> float:
    """Return the smallest difference of two scores in [0, 1] that is told from chance at 95 %.

    Paired: both models answer the same rows, so only rows on which they disagree carry evidence,
    and the difference has the standard error sqrt(disagreement / rows) near zero (McNemar's test;
    Newcombe, Statistics in Medicine 17, 1998, method 10 without correction). At a quarter of the
    rows in disagreement that is 0.98 / sqrt(rows), which is also the half-width of a single share
    of one half: 0.139 at 50 rows, 0.069 at 200, 0.044 at 500. Models that agree more often can be
    told apart by less; two models scored on different rows would need 1.41 times as much.

    Args:
        holdout_row_count: At least 0; without rows nothing can be told, and 1.0 is returned.
    """
    if holdout_row_count < 1:
        return 1.0
    return min(1.0, CONFIDENCE_Z * sqrt(DISAGREEMENT / holdout_row_count))
