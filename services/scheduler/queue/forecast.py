"""When jobs that were promised nothing are likely to start; pure.

Each takes, in their order, the slots of its pool that are free first. Unlike a promise it is no
commitment: later jobs of other projects may go first, and the machines' borders are not looked at.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from services.scheduler.queue.entry import Option, Waiting


class Forecast:
    """The slots of each pool by the time they become free."""

    def __init__(self, slot_times: Mapping[str, list[float]]) -> None:
        """Take over the lists."""
        self._times = dict(slot_times)
        for row in self._times.values():
            heapq.heapify(row)

    def add(self, job: Waiting) -> tuple[float, float] | None:
        """Return a job's likely start and end, and take its slots for that time.

        None if no pool is large enough for it.
        """
        option, row = self._soonest(job.options)
        if option is None or len(row) < option.slots:
            return None
        if option.slots == 1:
            start_s = row[0]
            heapq.heapreplace(row, start_s + option.expected_s)
            return start_s, start_s + option.expected_s
        return self._take(row, option, 0.0)

    def promise(self, option: Option, start_s: float) -> None:
        """Take slots for a job that starts now or was promised a start."""
        row = self._times.get(option.pool, [])
        if len(row) >= option.slots:
            self._take(row, option, start_s)

    def _take(self, row: list[float], option: Option, least_s: float) -> tuple[float, float]:
        start_s = least_s
        for _ in range(option.slots):
            start_s = max(heapq.heappop(row), start_s)
        for _ in range(option.slots):
            heapq.heappush(row, start_s + option.expected_s)
        return start_s, start_s + option.expected_s

    def _soonest(self, options: tuple[Option, ...]) -> tuple[Option | None, list[float]]:
        if len(options) == 1:
            return options[0], self._times.get(options[0].pool, [])
        best: tuple[Option | None, list[float]] = (None, [])
        for option in options:
            row = self._times.get(option.pool, [])
            if len(row) >= option.slots and (best[0] is None or row[0] < best[1][0]):
                best = (option, row)
        return best
