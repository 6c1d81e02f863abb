"""The loop that registers this machine and takes one run at a time."""

from __future__ import annotations

import asyncio
import logging
from uuid import uuid4

from attune.scheduler.v1.worker_pb2 import Lease

from services.common.artefacts import Artefacts
from services.common.errors import ServiceError
from services.common.processes import ProcessFolder
from services.trainer import devices, wire
from services.trainer.attempt import list_attempts
from services.trainer.base_models import list_local
from services.trainer.peers import SchedulerPeer
from services.trainer.settings import TrainerSettings
from services.trainer.supervisor import Supervisor
from services.trainer.tracking import Tracker

log = logging.getLogger(__name__)

WAIT_S = 20.0
"""Longest time that one call waits for a run; the most that the scheduler allows."""
HEARTBEAT_S = 10.0
"""Time between two registrations while a run is under way."""
LATE_MAX = 100
"""Attempts, the newest ones, whose copy in MLflow is completed when the service starts."""
RETRY_S = 1.0
"""Pause after a call that failed."""


class Worker:
    """Leases runs for as long as the service lives."""

    def __init__(
        self, settings: TrainerSettings, scheduler: SchedulerPeer, supervisor: Supervisor
    ) -> None:
        """Look at what the machine offers."""
        self._settings = settings
        self._scheduler = scheduler
        self._supervisor = supervisor
        self._instance = str(uuid4())
        self._devices = devices.offered(settings.accelerator)
        self._artefacts = Artefacts(settings.artefact_root)
        self._run: asyncio.Task[None] | None = None
        self._trouble = ""

    async def run(self) -> None:
        """Lease and execute runs for ever."""
        while True:
            busy = self._run is not None and not self._run.done()
            try:
                lease = await self._lease(busy)
            except ServiceError as error:
                if error.reason != self._trouble:
                    log.warning("no lease: %s", error)
                self._trouble = error.reason
                await asyncio.sleep(RETRY_S)
                continue
            self._trouble = ""
            if lease is not None and not busy:
                self._run = asyncio.create_task(self._execute(lease))
            elif busy and self._run is not None:
                await asyncio.wait([self._run], timeout=HEARTBEAT_S)

    async def stop(self) -> None:
        """Stop the run under way and hand it back."""
        if self._run is not None:
            self._run.cancel()
            await asyncio.wait([self._run])

    async def _lease(self, busy: bool) -> Lease | None:
        node = wire.node_to_proto(
            self._settings,
            self._instance,
            self._devices,
            await asyncio.to_thread(list_local, self._artefacts),
            free_slot_count=0 if busy else 1,
        )
        return await self._scheduler.lease_run(node, 0.0 if busy else WAIT_S)

    async def _execute(self, lease: Lease) -> None:
        try:
            await self._supervisor.execute(lease)
        except Exception:
            # The lease runs out and the run is tried again; this worker must go on.
            log.exception("run %s could not be supervised", lease.run)


def close_orphans(settings: TrainerSettings, tracker: Tracker | None) -> None:
    """End and close what an earlier instance of this service left behind on this machine."""
    processes = ProcessFolder(settings.home)
    for record in processes.all():
        if record.name.startswith("run-"):
            processes.end(record, grace_s=0.0)
    late = 0
    for folder in sorted((settings.artefact_root / "runs").glob("*"), reverse=True):
        for attempt in list_attempts(folder):
            manifest = attempt.manifest()
            if manifest is None or manifest.node != settings.node_id:
                continue
            if attempt.outcome() is None:
                log.warning("closing %s, which an earlier trainer left behind", attempt.folder)
                attempt.discard_half_written()
                attempt.write_outcome("LOST")
            tracked = (attempt.tracking() or {}).get("closed", False)
            if tracker is not None and not tracked and late < LATE_MAX:
                late += 1
                tracker.end(attempt)
