"""Makes versions of jobs that succeeded: from events, and from a list when an event was lost."""

from __future__ import annotations

import asyncio
import logging

from attune.events.v1 import events_pb2
from attune.scheduler.v1.scheduler_pb2 import Job

from services.common.errors import InvalidArgument, ServiceError
from services.common.events import Event, PoisonedEvent
from services.serving.peers import Scheduler
from services.serving.registry.version import lineage_of
from services.serving.registry.version_store import VersionStore

log = logging.getLogger(__name__)

RECONCILE_S = 30.0


class Registration:
    """The way from a job to its version, exactly once whatever is redelivered."""

    def __init__(self, versions: VersionStore, scheduler: Scheduler) -> None:
        """Keep the registry and the scheduler."""
        self._versions = versions
        self._scheduler = scheduler
        # Numbers are counted per model: two registrations at once would pick the same.
        self._lock = asyncio.Lock()

    async def take_event(self, event: Event) -> None:
        """Take in one `job.succeeded`.

        Raises:
            PoisonedEvent: If no version can ever be made of it.
        """
        job = event.parse(events_pb2.JobSucceeded()).job
        try:
            await self._register(job, event.id)
        except InvalidArgument as error:
            raise PoisonedEvent(error.message) from None

    async def run(self) -> None:
        """Look for jobs without a version, for ever."""
        while True:
            try:
                await self.reconcile()
            except ServiceError as error:
                log.info("the list of succeeded jobs must wait: %s", error.message)
            except Exception:
                log.exception("looking for jobs failed")  # The loop must go on.
            await asyncio.sleep(RECONCILE_S)

    async def reconcile(self) -> None:
        """Make the missing versions of all succeeded jobs.

        Raises:
            ServiceError: If the scheduler is away or refuses.
        """
        async for jobs in self._scheduler.list_succeeded_jobs():
            known = await self._versions.list_known_jobs([job.name for job in jobs])
            for job in jobs:
                if job.name in known:
                    continue
                try:
                    await self._register(job, None)
                except InvalidArgument as error:
                    log.error("no version can be made of %s: %s", job.name, error.message)

    async def _register(self, job: Job, event_id: str | None) -> None:
        lineage = lineage_of(job)
        async with self._lock:
            version = await self._versions.stage(lineage, event_id)
        if version is not None:
            log.info("registered %s from %s", version.name, job.name)
