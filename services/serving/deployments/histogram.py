"""How long things took, counted in fixed classes, so that counts of any origin can be added."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

LOWEST_S = 0.0005
GROWTH = 1.05
"""Each class ends so many times later than the one before: no quantile is off by more."""
CLASS_COUNT = 290
"""The last one begins at ten minutes, the longest time of a request, and has no end."""


@dataclass
class Histogram:
    """Counts of durations by class."""

    counts: dict[int, int] = field(default_factory=dict)
    """By number of the class, in [0, CLASS_COUNT); classes without any are left out."""

    @property
    def total(self) -> int:
        """How many there are in all."""
        return sum(self.counts.values())

    def add(self, seconds: float) -> None:
        """Count one duration."""
        place = 0
        if seconds > LOWEST_S:
            place = 1 + int(math.log(seconds / LOWEST_S) / math.log(GROWTH))
        place = min(place, CLASS_COUNT - 1)
        self.counts[place] = self.counts.get(place, 0) + 1

    def merge(self, other: Histogram) -> None:
        """Add what another one counted."""
        for place, count in other.counts.items():
            self.counts[place] = self.counts.get(place, 0) + count

    def quantile(self, share: float) -> float | None:
        """Return the duration that a share of all stay below, in seconds; None without any.

        Args:
            share: In (0, 1].
        """
        wanted, seen = share * self.total, 0
        for place, count in sorted(self.counts.items()):
            if seen + count >= wanted:
                begin = 0.0 if place == 0 else LOWEST_S * GROWTH ** (place - 1)
                end = LOWEST_S * GROWTH**place
                return begin + (end - begin) * (wanted - seen) / count
            seen += count
        return None

    def to_bytes(self) -> bytes:
        """Return the counts as they are kept: pairs of class and count."""
        pairs: Iterable[tuple[int, int]] = sorted(self.counts.items())
        return b"".join(struct.pack("<HQ", place, count) for place, count in pairs)

    @classmethod
    def from_bytes(cls, data: bytes) -> Histogram:
        """Return what `to_bytes` wrote."""
        return cls(dict(struct.iter_unpack("<HQ", data)))
