"""Takes back leases that were not renewed in time."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from services.common.clock import Clock
from services.scheduler.job import Job
from services.scheduler.lease import LeaseTerms, is_expired
from services.scheduler.store import JobStore

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""Time between two looks."""


class LeaseSweep:
    """Expires leases, but none within one lease of its own start."""

    def __init__(self, jobs: JobStore, terms: LeaseTerms, clock: Clock) -> None:
        """Begin the grace: until it ends, trainers may only now find the scheduler again."""
        self._jobs = jobs
        self._clock = clock
        self._grace_end_time = clock.now() + timedelta(seconds=terms.lease_s)

    async def run(self) -> None:
        """Look each second, for ever; a database that is away only delays it."""
        while True:
            try:
                await self.sweep()
            except Exception:
                log.exception("could not look for expired leases; will look again")
            await asyncio.sleep(LOOK_S)

    async def sweep(self) -> int:
        """Take back every lease that is over and return how many."""
        count = 0
        for job in await self._jobs.list_leased(expired_at=self._clock.now()):
            count += (await self._jobs.change(job.name, self._expire)).state is not job.state
        return count

    def _expire(self, job: Job) -> Job:
        now = self._clock.now()
        if not is_expired(job, now, self._grace_end_time):
            return job  # Renewed or ended since it was listed.
        log.warning("lease of %s on %s, fence %d, expired", job.run, job.node, job.attempt_count)
        return job.expire(f"The trainer on {job.node} was not heard of in time.", now)
