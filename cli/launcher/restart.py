"""When a process that died is started again, and when that is given up."""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_DELAY_S = 0.5
LAST_DELAY_S = 10.0
QUICK_S = 5.0
QUICK_DEATHS_MAX = 5
"""So many deaths in a row within QUICK_S of the start, and no further start is worth trying."""


@dataclass(frozen=True)
class Restarts:
    """The restarts of one process so far."""

    count: int = 0
    """Deaths in all."""
    quick_count: int = 0
    """Deaths in a row that came soon after the start."""

    def after_death(self, lived_s: float) -> Restarts:
        """Return the count after one more death of a process that lived so long, in seconds."""
        quick_count = self.quick_count + 1 if lived_s < QUICK_S else 0
        return replace(self, count=self.count + 1, quick_count=quick_count)

    @property
    def given_up(self) -> bool:
        """Whether it must not be started again."""
        return self.quick_count >= QUICK_DEATHS_MAX

    @property
    def delay_s(self) -> float:
        """Time to wait before the next start, in seconds."""
        doubled = FIRST_DELAY_S * 2.0 ** max(0, self.quick_count - 1)
        return min(LAST_DELAY_S, doubled)
