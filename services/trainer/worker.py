"""The loop that registers this machine and takes runs while there is room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from attune.scheduler.v1.worker_pb2 import Lease

from services.common.artefacts import Artefacts
from services.common.errors import ServiceError, Unavailable
from services.common.processes import ProcessFolder
from services.trainer import wire
from services.trainer.attempt import Attempt, list_attempts
from services.trainer.engine.engine import Engine
from services.trainer.models.base_models import list_local
from services.trainer.peers import SchedulerPeer
from services.trainer.run import Manifest
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
    """Leases runs for as long as the service lives, as many at once as the engine takes."""

    def __init__(
        self,
        settings: TrainerSettings,
        scheduler: SchedulerPeer,
        supervisor: Supervisor,
        engine: Engine,
    ) -> None:
        """Keep what it works with."""
        self._settings = settings
        self._scheduler = scheduler
        self._supervisor = supervisor
        self._engine = engine
        self._artefacts = Artefacts(settings.artefact_root)
        self._runs: dict[asyncio.Task[None], int] = {}
        """Each with the devices that it holds or waits for."""
        self._trouble = ""

    async def adopt(self) -> list[Manifest]:
        """Take up the runs that an earlier service began here and that go on, and return them."""
        found = []
        for attempt in await asyncio.to_thread(unfinished, self._settings):
            manifest = attempt.manifest()
            if manifest is None:
                continue
            run = await self._engine.find(attempt, manifest)
            if run is not None:
                lease = wire.lease_from_manifest(manifest)
                self._begin(lease, self._supervisor.adopt(lease, attempt, run))
                found.append(manifest)
        return found

    async def run(self) -> None:
        """Lease and execute runs for ever."""
        while True:
            try:
                free = await self._engine.free_slot_count(sum(self._runs.values()))
                lease = await self._lease(free)
            except ServiceError as error:
                if error.reason != self._trouble:
                    log.warning("no lease: %s", error)
                self._trouble = error.reason
                await asyncio.sleep(RETRY_S)
                continue
            self._trouble = ""
            if lease is not None:
                self._begin(lease, self._supervisor.execute(lease))
            elif not free:
                await self._until_an_end()

    async def stop(self) -> None:
        """Stop the runs under way and hand them back."""
        for run in self._runs:
            run.cancel()
        if self._runs:
            await asyncio.wait(self._runs)

    async def _until_an_end(self) -> None:
        if self._runs:
            await asyncio.wait(self._runs, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(RETRY_S)

    async def _lease(self, free: int) -> Lease | None:
        devices = await self._engine.devices()
        if not devices:
            # A node without devices is none.
            raise Unavailable("There is nothing to compute on.", reason="NO_DEVICES")
        node = wire.node_to_proto(
            self._settings,
            self._engine,
            devices,
            await asyncio.to_thread(list_local, self._artefacts),
            free_slot_count=free,
        )
        return await self._scheduler.lease_run(node, WAIT_S if free else 0.0)

    def _begin(self, lease: Lease, work: Coroutine[Any, Any, None]) -> None:
        run = asyncio.create_task(self._guarded(lease, work))
        self._runs[run] = max(1, lease.placement.device_count)
        run.add_done_callback(self._runs.pop)

    async def _guarded(self, lease: Lease, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            # The lease runs out and the run is tried again; this worker must go on.
            log.exception("run %s could not be supervised", lease.run)


def unfinished(settings: TrainerSettings) -> list[Attempt]:
    """Return the attempts of this machine that have no outcome, newest runs first."""
    found = []
    for folder in sorted((settings.artefact_root / "runs").glob("*"), reverse=True):
        for attempt in list_attempts(folder):
            manifest = attempt.manifest()
            ours = manifest is not None and manifest.node == settings.node_id
            if ours and attempt.outcome() is None:
                found.append(attempt)
    return found


def close_orphans(
    settings: TrainerSettings, tracker: Tracker | None, kept: Sequence[Manifest] = ()
) -> None:
    """End and close what an earlier instance of this service left behind on this machine.

    Args:
        settings: Of this service.
        tracker: MLflow's copies are closed too.
        kept: Of attempts that go on.
    """
    going_on = {(manifest.run, manifest.fence) for manifest in kept}
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
            if (manifest.run, manifest.fence) in going_on:
                continue
            if attempt.outcome() is None:
                log.warning("closing %s, which an earlier trainer left behind", attempt.folder)
                attempt.discard_half_written()
                attempt.write_outcome("LOST")
            tracked = (attempt.tracking() or {}).get("closed", False)
            if tracker is not None and not tracked and late < LATE_MAX:
                late += 1
                tracker.end(attempt)
