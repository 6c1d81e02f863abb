"""Does what a pass decides and no trainer asks for: keeps promises, and asks runs to stop."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from services.common.clock import Clock
from services.scheduler.board import Board, View
from services.scheduler.job import Job
from services.scheduler.queue.preemption import Cause, Stop, cause_words
from services.scheduler.state import State
from services.scheduler.store import JobStore

log = logging.getLogger(__name__)

LOOK_S = 5.0
"""Time between two looks."""
SAME_S = 60.0
"""A promise that moves by less stays as it was written."""


class Steward:
    """Looks at the queue for ever. Every write is guarded, so two of them do nothing twice."""

    def __init__(self, jobs: JobStore, board: Board, clock: Clock) -> None:
        """Keep what it works with."""
        self._jobs = jobs
        self._board = board
        self._clock = clock

    async def run(self) -> None:
        """Look every 5 s, for ever; a database that is away only delays it."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("could not look after the queue; will try again")
            await asyncio.sleep(LOOK_S)

    async def look(self) -> int:
        """Write new promises, ask runs to stop, and return how many were asked."""
        view = await self._board.look()
        if promises := changed_promises(view):
            await self._jobs.promise(promises)
        count = 0
        for stop in view.schedule.stops:
            count += await self._stop(stop, view)
        return count

    async def _stop(self, stop: Stop, view: View) -> bool:
        why, now = cause_words(stop, view.account(stop.job)), self._clock.now()

        def decide(job: Job) -> Job:
            if job.state is not State.RUNNING:
                return job  # It ended, or was asked to stop by somebody else.
            return job.make_room(why, now) if stop.cause is Cause.YIELD else job.pause(why, now)

        after = await self._jobs.change(stop.job, decide)
        return after.update_time == now and after.state is not State.RUNNING


def changed_promises(view: View) -> dict[str, tuple[datetime | None, str]]:
    """Return the promises that differ from what is written: start and node; None for no more."""
    made = view.schedule.promises
    found: dict[str, tuple[datetime | None, str]] = {}
    starting = {start.job for start in view.schedule.starts}
    for job in view.snapshot.waiting:
        before, after = job.promise, made.get(job.id)
        if after is None:
            if before is not None and job.id not in starting:
                found[job.id] = (None, "")
        elif (
            before is None
            or before.machines != after.machines
            or abs(before.start_s - after.start_s) >= SAME_S
        ):
            found[job.id] = (datetime.fromtimestamp(after.start_s, UTC), after.machines[0])
    return found
