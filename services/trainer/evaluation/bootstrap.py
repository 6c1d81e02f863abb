"""How sure a figure of some rows is: percentile bootstrap over the rows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CELLS_MAX = 4_000_000
"""Drawn indices that are held at once, so that memory stays bounded."""

Floats = NDArray[np.float64]
Statistic = Callable[[NDArray[np.int64]], Floats]
"""Takes drawn rows, [B, N], and returns the figure of each resample, [B]."""


@dataclass(frozen=True)
class Resampling:
    """How rows are drawn again."""

    resample_count: int
    """How often, at least 1."""
    confidence: float
    """Of the interval, in (0, 1)."""
    seed: int
    """Equal seeds give equal intervals."""


@dataclass(frozen=True)
class Figure:
    """A figure and between which values it lies."""

    value: float
    low: float
    high: float


def interval(statistic: Statistic, row_count: int, how: Resampling) -> Figure:
    """Return a figure of all rows with its percentile interval.

    Args:
        statistic: The figure of any rows.
        row_count: At least 1.
        how: The drawing.
    """
    generator = np.random.default_rng(how.seed)
    batch = max(1, CELLS_MAX // row_count)
    found = []
    for start in range(0, how.resample_count, batch):
        size = (min(batch, how.resample_count - start), row_count)
        found.append(statistic(generator.integers(0, row_count, size)))
    tail = (1.0 - how.confidence) / 2.0
    low, high = np.quantile(np.concatenate(found), [tail, 1.0 - tail])
    (value,) = statistic(np.arange(row_count)[None, :])
    return Figure(float(value), float(low), float(high))


def mean(values: Sequence[float], how: Resampling) -> Figure:
    """Return the mean of at least one value with its interval."""
    array = np.asarray(values, dtype=np.float64)
    return interval(lambda drawn: array[drawn].mean(axis=1), len(array), how)


def difference(base: Sequence[float], tuned: Sequence[float], how: Resampling) -> Figure:
    """Return the mean of tuned less base with its interval; the rows are paired.

    Args:
        base: One score per row, at least one.
        tuned: Of the same rows in the same order.
        how: The drawing.
    """
    return mean([after - before for before, after in zip(base, tuned, strict=True)], how)


def gap(first: Sequence[float], second: Sequence[float], how: Resampling) -> Figure:
    """Return the mean of the first less that of the second, which are other rows."""
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    generator = np.random.default_rng(how.seed)
    means = []
    for values in (one, other):
        batch = max(1, CELLS_MAX // len(values))
        drawn = [
            values[
                generator.integers(
                    0, len(values), (min(batch, how.resample_count - start), len(values))
                )
            ].mean(axis=1)
            for start in range(0, how.resample_count, batch)
        ]
        means.append(np.concatenate(drawn))
    tail = (1.0 - how.confidence) / 2.0
    low, high = np.quantile(means[0] - means[1], [tail, 1.0 - tail])
    return Figure(float(one.mean() - other.mean()), float(low), float(high))
