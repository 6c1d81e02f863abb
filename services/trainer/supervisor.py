"""One leased run: started, kept alive, told to stop, and handed back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

from attune.scheduler.v1.worker_pb2 import FinishRunRequest, Lease

from services.common.artefacts import Artefacts
from services.common.errors import FailedPrecondition, InvalidArgument, NotFound, ServiceError
from services.common.names import last_part
from services.common.processes import ProcessFolder
from services.common.waiting import until_set
from services.trainer import wire
from services.trainer.attempt import PROBE, Attempt
from services.trainer.engine.engine import Engine, Execution
from services.trainer.memory import oom_kill_count
from services.trainer.peers import SchedulerPeer
from services.trainer.run import DISK_FULL, OUT_OF_MEMORY, ExitCode, MemoryFacts, Phase
from services.trainer.runtime.checkpoint import Origin, find_checkpoints
from services.trainer.settings import TrainerSettings
from services.trainer.tracking import Tracker

log = logging.getLogger(__name__)

AWAY_MAX_S = 15 * 60.0
"""How long a run goes on, or its outcome is offered, while the scheduler does not answer."""
RETRY_S = 2.0
"""Time between two offers of an outcome."""
STOP_TIMEOUT_S = 5.0
"""Time to hand a run back when this service stops."""
WIND_DOWN_S = 15.0
"""Time that a run has for a checkpoint when this service stops; the lease outlasts it."""
RENEW_DEFAULT_S = 10.0
LEASE_LOST = "LEASE_LOST"
REFUSALS = (FailedPrecondition, InvalidArgument, NotFound)
"""Answers that no repeat will change; among them that the lease is lost."""


class Supervisor:
    """Executes leases."""

    def __init__(
        self,
        settings: TrainerSettings,
        scheduler: SchedulerPeer,
        engine: Engine,
        tracker: Tracker | None,
    ) -> None:
        """Keep what a run needs."""
        self._settings = settings
        self._scheduler = scheduler
        self._engine = engine
        self._tracker = tracker

    async def execute(self, lease: Lease) -> None:
        """Run a lease to its end and hand in the outcome; a lost lease ends silently.

        When the task is cancelled, because this service stops, the run is stopped and handed back
        as LOST.
        """
        folder = Artefacts(self._settings.artefact_root).attempt(last_part(lease.run), lease.fence)
        manifest = wire.manifest_from_lease(lease, self._settings, folder)
        attempt = Attempt.create(folder, manifest)
        log.info("run %s begins, attempt %d", lease.run, lease.fence)
        await self._supervise(lease, attempt, self._engine.start(attempt, manifest))

    async def adopt(self, lease: Lease, attempt: Attempt, run: Execution) -> None:
        """Go on with a run that an earlier service began, to its end, as `execute` would."""
        log.info("run %s goes on, attempt %d", lease.run, lease.fence)

        async def found() -> Execution:
            return run

        await self._supervise(lease, attempt, found())

    async def _supervise(self, lease: Lease, attempt: Attempt, start: Awaitable[Execution]) -> None:
        if self._tracker is not None:
            self._tracker.begin(attempt)
        run: Execution | None = None
        kill_count = oom_kill_count()
        try:
            run = await start
            code = await self._watch(lease, attempt, run)
        except asyncio.CancelledError:
            ended = None if run is None else await _wind_down(run)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._end(attempt, _last_word(lease, attempt, ended))
            raise
        except (OSError, EOFError) as error:
            text = f"The run's process could not be started: {error!r}."
            await self._end(attempt, wire.loss(lease, "NOT_STARTED", text))
            return
        if run.abandoned:
            self._close(attempt, "LOST")
        else:
            killed = run.oom_killed or oom_kill_count() > kill_count
            # Reading checkpoints may take a while: other leases must be renewed meanwhile.
            await self._end(
                attempt,
                await asyncio.to_thread(outcome, lease, attempt, code, oom_killed=killed),
            )

    async def _watch(self, lease: Lease, attempt: Attempt, run: Execution) -> int:
        keeping = asyncio.create_task(self._keep(lease, attempt, run))
        try:
            return await run.wait()
        finally:
            keeping.cancel()
            ProcessFolder(self._settings.home).forget(f"run-{last_part(lease.run)}")

    async def _keep(self, lease: Lease, attempt: Attempt, run: Execution) -> None:
        """Renew the lease until it is lost or cannot be renewed any more, then stop the run."""
        changed = asyncio.Event()
        run.on_message(changed.set)
        interval_s = lease.renew_interval.ToTimedelta().total_seconds() or RENEW_DEFAULT_S
        answered_s = time.monotonic()
        while time.monotonic() - answered_s < AWAY_MAX_S:
            request = wire.renewal(lease, attempt.progress(datetime.now(UTC)))
            try:
                answer = await self._scheduler.renew_lease(request)
            except ServiceError as error:
                if error.reason == LEASE_LOST:
                    log.warning("run %s: the lease is lost; it stops", lease.run)
                    break
                log.info("run %s goes on while the scheduler is away: %s", lease.run, error)
            else:
                answered_s = time.monotonic()
                if answer.cancel:
                    run.cancel()
                elif answer.pause:
                    run.pause()
            await until_set(changed, interval_s)
            changed.clear()
        await run.abandon()

    async def _end(self, attempt: Attempt, request: FinishRunRequest) -> None:
        name = FinishRunRequest.Outcome.Name(request.outcome).removeprefix("OUTCOME_")
        log.info("run %s ended: %s %s", request.run, name, request.error.message)
        self._close(attempt, name)
        await self._hand_in(request)

    def _close(self, attempt: Attempt, name: str) -> None:
        attempt.discard_half_written()
        try:
            attempt.write_outcome(name)
        except OSError as error:  # A full disk must not keep the scheduler from being told.
            log.warning("%s: its outcome %s could not be written: %s", attempt.folder, name, error)
        if self._tracker is not None:
            self._tracker.end(attempt)

    async def _hand_in(self, request: FinishRunRequest) -> None:
        begin_s = time.monotonic()
        while time.monotonic() - begin_s < AWAY_MAX_S:
            try:
                return await self._scheduler.finish_run(request)
            except ServiceError as error:
                if isinstance(error, REFUSALS):
                    log.warning("the outcome of %s was not taken: %s", request.run, error)
                    return None
                log.info("the outcome of %s waits for the scheduler: %s", request.run, error)
            await asyncio.sleep(RETRY_S)
        log.error("the outcome of %s could not be handed in; the lease will run out", request.run)
        return None


def outcome(
    lease: Lease, attempt: Attempt, code: int, *, oom_killed: bool = False
) -> FinishRunRequest:
    """Return what an ended run means.

    Args:
        lease: Its lease.
        attempt: Its folder.
        code: Exit code of its process; negative for a signal.
        oom_killed: Whether the system killed a process for lack of memory meanwhile.
    """
    error = attempt.error() or {}
    reason, message = str(error.get("reason", "")), str(error.get("message", ""))
    if code == ExitCode.SUCCEEDED:
        registered, tuned = attempt.result(Phase.REGISTER), attempt.result(Phase.EVALUATE)
        trained = attempt.result(Phase.TRAIN) or {}
        if registered is not None and tuned is not None:
            return wire.success(lease, registered, tuned["report"], trained.get("memory"))
        return wire.loss(lease, "RESULT_MISSING", "The run ended without its result.")
    if code == ExitCode.FAILED:
        return wire.failure(lease, reason or "FAILED", message or "The run failed.")
    if code == ExitCode.CANCELLED:
        return wire.cancellation(lease)
    if code == ExitCode.PAUSED:
        return wire.halt(lease, attempt.question())
    if code == ExitCode.TERMINATED:
        return wire.loss(lease, "TERMINATED", "The run's process was told to end, and halted.")
    if code == ExitCode.DISK_FULL:
        text = f"The disk under {attempt.folder.parents[2]} has no room left. Make room."
        return wire.loss(lease, DISK_FULL, message or text)
    if code == -signal.SIGKILL and oom_killed:
        text = "The system killed the run's process because the machine had no memory left."
        return _shortage(lease, attempt, text, {})
    if reason == OUT_OF_MEMORY:
        return _shortage(lease, attempt, message, error)
    if code < 0:
        return wire.loss(lease, "KILLED", f"The run's process was killed by signal {-code}.")
    return wire.loss(lease, reason or "CRASHED", message or f"The run ended with code {code}.")


async def _wind_down(run: Execution) -> int | None:
    """Give the run the time for a checkpoint, end it, and return its exit code; None if killed."""
    run.terminate()
    try:
        async with asyncio.timeout(WIND_DOWN_S):
            return await run.wait()
    except TimeoutError:
        await run.stop()
        return None


def _last_word(lease: Lease, attempt: Attempt, code: int | None) -> FinishRunRequest:
    """Return what a run means that ended while this service stopped."""
    if code is None or code < 0 or code == ExitCode.TERMINATED:
        return wire.loss(lease, "TRAINER_STOPPED", "The trainer stops.")
    return outcome(lease, attempt, code)


def _shortage(
    lease: Lease, attempt: Attempt, message: str, error: dict[str, Any]
) -> FinishRunRequest:
    facts = MemoryFacts(
        int(error.get("done", 0)),
        int(error.get("peak_bytes", 0)),
        int(error.get("max_token_count", 0)),
        _checkpoint_step(lease, attempt),
        is_probe=(attempt.folder / PROBE).exists(),
    )
    return wire.shortage(lease, message, attempt.progress(datetime.now(UTC)), facts)


def _checkpoint_step(lease: Lease, attempt: Attempt) -> int:
    """Return the optimizer steps of the checkpoint that the next attempt goes on from."""
    origin = Origin(lease.spec.hash, lease.spec.base_model.revision, lease.stage_index)
    found, _ = find_checkpoints(attempt.folder.parent, origin, lease.fence)
    return found[0].step if found else 0
