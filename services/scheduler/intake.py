"""Makes one job of each approved revision, from events and, should one be lost, from a list."""

from __future__ import annotations

import asyncio
import logging

from attune.events.v1.events_pb2 import SpecApproved
from attune.spec.v1.spec_pb2 import Spec

from services.common.clock import Clock, new_id
from services.common.errors import InvalidArgument, ServiceError
from services.common.events import Event, PoisonedEvent
from services.scheduler.approval import new_job
from services.scheduler.peers import PlannerPeer
from services.scheduler.store import JobStore

log = logging.getLogger(__name__)

RECONCILE_S = 30.0
"""Time between two looks at the planner's list."""


class Intake:
    """Turns approved specs into jobs, once each."""

    def __init__(self, jobs: JobStore, planner: PlannerPeer, clock: Clock) -> None:
        """Keep what it works with."""
        self._jobs = jobs
        self._planner = planner
        self._clock = clock

    async def take_event(self, event: Event) -> None:
        """Make the job of a `spec.approved` event.

        Raises:
            PoisonedEvent: If its data are not an approved spec.
        """
        spec = event.parse(SpecApproved()).spec
        try:
            await self._take(spec, event.id)
        except InvalidArgument as error:
            raise PoisonedEvent(error.message) from None

    async def reconcile_for_ever(self) -> None:
        """Compare with the planner's list every 30 s; the planner being away only delays it."""
        while True:
            try:
                await self.reconcile()
            except ServiceError as error:
                log.info("the planner cannot be asked for approved specs: %s", error.message)
            except Exception:
                log.exception("could not compare jobs with approved specs; will try again")
            await asyncio.sleep(RECONCILE_S)

    async def reconcile(self) -> int:
        """Make the jobs that are missing and return how many.

        Raises:
            ServiceError: If the planner refuses or is away.
        """
        count = 0
        async for spec in self._planner.list_approved():
            if await self._jobs.has(spec.name, spec.approval.revision):
                continue
            try:
                count += await self._take(spec, None)
            except InvalidArgument as error:
                log.error("no job can be made of %s: %s", spec.name, error.message)
        return count

    async def _take(self, spec: Spec, event_id: str | None) -> bool:
        now = self._clock.now()
        job = new_job(spec, new_id(now), now)
        made = await self._jobs.add(job, event_id)
        if made:
            log.info("%s made of %s, revision %d", job.name, job.spec, job.spec_revision)
        return made
