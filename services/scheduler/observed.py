"""Corrects estimates of memory by what finished runs have taken; pure.

The correction is a factor, learnt per model, technique, method, length and device. With nothing
observed it is 1. What is observed moves it from there by the weight of its evidence: as if the
formula itself had been observed `PRIOR_COUNT` times, in logarithms, so that too high and too low
count alike. Neighbours (the same run on other lengths or devices) speak first, at less weight. It
stays within bounds, and evidence lowers an estimate less readily than it raises one: too little
memory ends a run, too much only delays it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.scheduler.memory.estimate import Range

PRIOR_COUNT = 3.0
"""Observations that the formula's own word is worth."""
NEIGHBOUR_WEIGHT = 0.25
"""Worth of an observation of another length or device beside one of the same."""
LOWEST = 0.85
"""Least factor: an estimate is never lowered by more than that."""
HIGHEST = 1.5
"""Greatest factor."""
OUTLIER = 2.0
"""A peak that many times its estimate, or that share of it, tells of another run than was
estimated, and is left out."""
KEPT_MAX = 200
"""Newest observations that are looked at."""
BUCKET_BASE = 256
"""Longest rows of the first length bucket, in tokens; each further bucket doubles it."""
NARROWED_MIN = 5
"""Observations of the same key from which the bounds follow their spread, if that is wider."""


class Key(NamedTuple):
    """What runs must share for one to tell of the other."""

    architecture: str
    """Model id, or a name of its shape."""
    technique: str
    method: str
    length_bucket: int
    """As `length_bucket` gives it."""
    device: str
    """Profile id."""


@dataclass(frozen=True)
class Observation:
    """A finished run: what was predicted by the formula alone, and what it took."""

    key: Key
    expected_bytes: int
    """By the formula, uncorrected."""
    peak_bytes: int

    @property
    def log_ratio(self) -> float:
        """Return the logarithm of measured over predicted."""
        return math.log(self.peak_bytes / self.expected_bytes)


@dataclass(frozen=True)
class Correction:
    """What to multiply an estimate by."""

    factor: float
    """In [`LOWEST`, `HIGHEST`]; 1 with nothing observed."""
    spread: float
    """Standard deviation of observed over corrected, as a share; 0 when too few were observed."""
    observation_count: int
    """Of the same key."""
    neighbour_count: int = 0
    """Of other lengths or devices."""


NONE = Correction(1.0, 0.0, 0)


def length_bucket(token_count: int) -> int:
    """Return the bucket of a row length: 0 up to 256 tokens, then one for every doubling."""
    return max(0, math.ceil(math.log2(max(token_count, 1) / BUCKET_BASE)))


def correction(key: Key, observations: Iterable[Observation]) -> Correction:
    """Return what is learnt for a key.

    Args:
        key: Of the run that is estimated.
        observations: Newest first; those of other models, techniques or methods do not count.
    """
    usable = [each for each in list(observations)[:KEPT_MAX] if _is_usable(each)]
    same = [each.log_ratio for each in usable if each.key == key]
    near = [each.log_ratio for each in usable if each.key != key and _is_neighbour(each.key, key)]
    if not same and not near:
        return NONE
    weight = len(same) + NEIGHBOUR_WEIGHT * len(near)
    # The median bears one run in two that was not what it said it was.
    level = _weighted_median(same, near)
    factor = math.exp(level * weight / (weight + PRIOR_COUNT))
    factor = min(max(factor, LOWEST), HIGHEST)
    spread = 0.0
    if len(same) >= NARROWED_MIN:
        spread = statistics.pstdev(math.exp(ratio) / factor for ratio in same)
    return Correction(factor, spread, len(same), len(near))


def corrected(estimate: Range, learnt: Correction) -> Range:
    """Return an estimate with what was learnt.

    Bounds keep their distance as shares of the expected value, or widen to twice the spread.
    """
    expected = estimate.expected_bytes * learnt.factor
    above = max(estimate.high_bytes / max(estimate.expected_bytes, 1), 1 + 2 * learnt.spread)
    below = min(estimate.low_bytes / max(estimate.expected_bytes, 1), 1 - 2 * learnt.spread)
    return Range(round(expected * max(below, 0.0)), round(expected), round(expected * above))


def _is_usable(observation: Observation) -> bool:
    if observation.expected_bytes < 1 or observation.peak_bytes < 1:
        return False
    return abs(observation.log_ratio) <= math.log(OUTLIER)


def _is_neighbour(other: Key, key: Key) -> bool:
    return other[:3] == key[:3]


def _weighted_median(same: Sequence[float], near: Sequence[float]) -> float:
    weighted = sorted(
        [(ratio, 1.0) for ratio in same] + [(ratio, NEIGHBOUR_WEIGHT) for ratio in near]
    )
    half = sum(weight for _, weight in weighted) / 2
    reached = 0.0
    for position, (ratio, weight) in enumerate(weighted):
        reached += weight
        if math.isclose(reached, half):
            return (ratio + weighted[position + 1][0]) / 2
        if reached > half:
            return ratio
    return 0.0
