"""What an answer costs: its share of an engine's hour."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_PER_HOUR = 3600.0


class Meter:
    """Adds up the share of an engine that an answer takes while it is made."""

    def __init__(self, hour_cost_micro_usd: int, clock: Callable[[], float]) -> None:
        """Begin now.

        Args:
            hour_cost_micro_usd: Price of an engine's hour; 0 when none is set.
            clock: Monotonic time in seconds.
        """
        self._hour_cost_micro_usd = hour_cost_micro_usd
        self._clock = clock
        self._last_s = clock()
        self._engine_s = 0.0

    def note(self, share: float) -> None:
        """Count the time since the last note.

        Args:
            share: Of the engine that the answer had then, in (0, 1].
        """
        now_s = self._clock()
        self._engine_s += (now_s - self._last_s) * share
        self._last_s = now_s

    @property
    def cost_micro_usd(self) -> int | None:
        """Cost so far in millionths of a US dollar; None where no price is set."""
        if not self._hour_cost_micro_usd:
            return None
        return round(self._engine_s / SECONDS_PER_HOUR * self._hour_cost_micro_usd)


def meter(hour_cost_micro_usd: int) -> Meter:
    """Return a meter on the machine's own clock."""
    return Meter(hour_cost_micro_usd, time.monotonic)
