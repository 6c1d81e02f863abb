"""A job: an approved spec on its way to an adapter, and every change that it may go through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from attune.scheduler.v1.scheduler_pb2 import JobProgress, JobQuestion, JobResult
from attune.spec.v1.spec_pb2 import Spec
from google.rpc.status_pb2 import Status

from services.common import names
from services.common.errors import FailedPrecondition
from services.scheduler.failed_layout import FailedLayout
from services.scheduler.queue.entry import Priority
from services.scheduler.stage import runs
from services.scheduler.state import FINAL, LEASED, Event, State, next_state

LOSSES_MAX = 5
"""How often a job that lost its worker is queued again; after the next loss it fails."""
CODE_ABORTED = 10
"""`google.rpc.Code.ABORTED`."""


@dataclass(frozen=True)
class Job:
    """A job as it is at one moment; every change makes a new one."""

    name: str
    spec: str
    """Name of the spec."""
    spec_revision: int
    spec_hash: str
    approved_spec: Spec
    """The spec as it was approved; never changed."""
    create_time: datetime
    update_time: datetime
    queue_time: datetime
    """When it began to wait: when it was made or last resumed."""
    state: State = State.QUEUED
    state_reason: str = ""
    priority: Priority = Priority.NORMAL
    """Within its project."""
    stage_index: int = 0
    """Position of the present stage in the spec."""
    stage_fence: int = 0
    """The newest fence when the present stage began."""
    stage_results: tuple[JobResult, ...] = ()
    """What the stages that ended have made, in their order."""
    attempt_count: int = 0
    """Leases given so far, in all stages; also the newest fence."""
    loss_count: int = 0
    """Leases of the stage that ended without an outcome, so that it was queued again."""
    finished_fence: int = 0
    """Fence of the newest lease that its trainer ended itself; 0 when there is none."""
    node: str = ""
    """Id of the node that holds the lease; empty without one."""
    instance: str = ""
    """The node's worker that holds it."""
    lease_expire_time: datetime | None = None
    lease_time: datetime | None = None
    """When the present lease began; None without one."""
    expected_s: float = 0.0
    """What the present attempt was expected to take when it began, in seconds."""
    price_micro_usd_per_hour: int = 0
    """Of what the present attempt holds, in millionths of a US dollar."""
    layout: FailedLayout | None = None
    """How the present attempt is laid out, to be kept should it fail; None without a lease."""
    failed: tuple[FailedLayout, ...] = ()
    """Layouts of the stage that ran out of memory, oldest first."""
    device_s: float = 0.0
    """Device-seconds of the leases that ended."""
    spent_micro_usd: int = 0
    """Cost of the leases that ended, in millionths of a US dollar."""
    yield_count: int = 0
    """How often it made room for another job."""
    promised_start_time: datetime | None = None
    """The start that it was told while it waits; None when there is none."""
    promised_node: str = ""
    """Where."""
    progress: JobProgress | None = None
    result: JobResult | None = None
    error: Status | None = None
    question: JobQuestion | None = None
    """What its run asked before it goes on; None when nothing is or was left unanswered."""
    waived_reasons: tuple[str, ...] = ()
    """Reasons of questions that were answered with going on, in the present stage."""
    start_time: datetime | None = None
    end_time: datetime | None = None
    version: int = 1
    """Grows by one with each stored change."""

    @property
    def run(self) -> str:
        """Name of the present or last run; empty until first leased."""
        if self.attempt_count == 0:
            return ""
        project, job = names.project_of(self.name), names.last_part(self.name)
        # A stage that was not leased yet has no run; the last one is that of the stage before.
        stage = self.stage_index - (self.attempt_count == self.stage_fence)
        return f"projects/{project}/runs/{job}-s{stage}"

    def cost_micro_usd(self, now: datetime) -> int:
        """Return what it has cost so far, in millionths of a US dollar."""
        price = self.price_micro_usd_per_hour / 3600
        return self.spent_micro_usd + round(self._leased_s(now) * price)

    @property
    def device_count(self) -> int:
        """Devices that the present attempt holds; 1 where nobody knows."""
        return self.layout.device_count if self.layout is not None else 1

    def held_s(self, now: datetime) -> float:
        """Return the device-seconds of the present lease; 0 without one."""
        return self.device_count * self._leased_s(now)

    def _leased_s(self, now: datetime) -> float:
        return max((now - (self.lease_time or now)).total_seconds(), 0.0)

    def lease(
        self,
        node: str,
        instance: str,
        expire_time: datetime,
        now: datetime,
        *,
        expected_s: float = 0.0,
        price_micro_usd_per_hour: int = 0,
        layout: FailedLayout | None = None,
    ) -> Job:
        """Return the job in the hands of a node's worker, with the next fence.

        Args:
            node: Its id.
            instance: The worker.
            expire_time: When the lease ends unless renewed.
            now: The present moment.
            expected_s: What the attempt is expected to take, in seconds.
            price_micro_usd_per_hour: Of what it holds.
            layout: Of the attempt.

        Raises:
            FailedPrecondition: If it is not queued.
        """
        told = "".join(f" {one.reason}" for one in self.failed[-1:])
        attempt = self.attempt_count + 1 - self.stage_fence
        what = runs(self.approved_spec, self.stage_index)
        reason = f"{what} on {node}, attempt {attempt}.{told}"
        leased = self._step(Event.LEASE, reason, now)
        return replace(
            leased,
            attempt_count=self.attempt_count + 1,
            node=node,
            instance=instance,
            lease_expire_time=expire_time,
            lease_time=now,
            expected_s=expected_s,
            price_micro_usd_per_hour=price_micro_usd_per_hour,
            layout=layout,
            progress=None,
            start_time=self.start_time or now,
        )

    def renew(self, progress: JobProgress | None, expire_time: datetime, now: datetime) -> Job:
        """Return the job with a longer lease and, if there is one, the reported progress.

        Raises:
            FailedPrecondition: If it holds no lease.
        """
        renewed = self._step(Event.RENEW, self.state_reason, now)
        return replace(renewed, lease_expire_time=expire_time, progress=progress or self.progress)

    def cancel(self, now: datetime) -> Job:
        """Return the job on its way to CANCELLED; itself when it is there or on the way already.

        Raises:
            FailedPrecondition: If it has succeeded or failed.
        """
        if self.state in (State.CANCELLING, State.CANCELLED):
            return self
        self._refuse_when_ended("cancelled")
        reason = "Cancelled on request before it started."
        if self.state in LEASED:
            reason = "Asked to stop; waits for the trainer to confirm."
        elif self.attempt_count:
            reason = "Cancelled on request."
        return self._step(Event.CANCEL, reason, now)

    def pause(self, why: str, now: datetime) -> Job:
        """Return the job on its way to PAUSED; itself when it is there or on the way already.

        Args:
            why: A sentence.
            now: The present moment.

        Raises:
            FailedPrecondition: If it has ended or is being cancelled.
        """
        if self.state in (State.PAUSING, State.PAUSED):
            return self
        self._refuse_when_ended("paused")
        leased = self.state in LEASED
        reason = f"{why} It goes on to its next checkpoint." if leased else why
        return self._step(Event.PAUSE, reason, now)

    def resume(self, now: datetime) -> Job:
        """Return the job on its way back to the queue; itself when it waits or runs anyhow.

        Raises:
            FailedPrecondition: If it has ended or is being cancelled.
        """
        self._refuse_when_ended("resumed")
        if self.state in (State.QUEUED, State.RUNNING, State.YIELDING):
            return self
        if self.state is State.PAUSING:
            return self._step(Event.RESUME, "Resumed; it continues from its checkpoint.", now)
        return replace(self._step(Event.RESUME, "Resumed.", now), queue_time=now)

    def make_room(self, why: str, now: datetime) -> Job:
        """Return the job on its way back to the queue, because another one needs its place.

        Args:
            why: A sentence.
            now: The present moment.

        Raises:
            FailedPrecondition: If it does not run.
        """
        if self.state is State.YIELDING:
            return self
        return self._step(Event.YIELD, f"{why} It goes on to its next checkpoint.", now)

    def halt(self, now: datetime) -> Job:
        """Return the job after its run ended at a checkpoint, as it was asked to.

        Raises:
            FailedPrecondition: If nobody asked it to.
        """
        match self.state:
            case State.YIELDING:
                job = self._step(Event.HALT, "Queued again; continues from its checkpoint.", now)
                job = replace(job, yield_count=self.yield_count + 1)
            case State.CANCELLING:
                job = self._step(Event.HALT, "Stopped on request.", now)
            case _:
                why = self.state_reason.removesuffix(" It goes on to its next checkpoint.")
                job = self._step(Event.HALT, why, now)
        return self._finished(job)

    def ask(self, question: JobQuestion, now: datetime) -> Job:
        """Return the job after its run paused of itself; FailedPrecondition without a lease."""
        before = "Stopped on request. " if self.state is State.CANCELLING else ""
        job = self._finished(self._step(Event.ASK, f"{before}{question.message}", now))
        return replace(job, question=question)

    def set_priority(self, priority: Priority, now: datetime) -> Job:
        """Return the job with another priority within its project.

        Raises:
            FailedPrecondition: If it has ended.
        """
        self._refuse_when_ended("given a priority")
        if priority is self.priority:
            return self
        return replace(self, priority=priority, update_time=now)

    def _refuse_when_ended(self, what: str) -> None:
        if self.state in FINAL:
            raise FailedPrecondition(
                f"{self.name} has {self.state.lower()} already and cannot be {what}.",
                reason="JOB_ENDED",
                job=self.name,
                state=self.state.lower(),
            )

    def advance(self, why: str, now: datetime) -> Job:
        """Return the job on its way to the next stage, with attempts of its own.

        It keeps its place in the queue: who was queued later waits for the whole chain.

        Args:
            why: A sentence.
            now: The present moment.

        Raises:
            FailedPrecondition: If it holds no lease.
        """
        job = self._finished(self._step(Event.ADVANCE, why, now))
        if job.state in FINAL:
            return job
        return replace(
            job,
            stage_index=self.stage_index + 1,
            stage_fence=self.attempt_count,
            loss_count=0,
            failed=(),
            waived_reasons=(),
            progress=None,
        )

    def succeed(self, result: JobResult, now: datetime, told: str = "") -> Job:
        """Return the job with its result.

        Args:
            result: Adapter and report.
            now: The present moment.
            told: What else there is to say, in sentences.

        Raises:
            FailedPrecondition: If it holds no lease.
        """
        reason = "The adapter and its report exist."
        if self.state is State.CANCELLING:
            reason = "It had finished before it could be stopped; the adapter and report exist."
        reason = f"{told} {reason}".strip()
        return self._finished(replace(self._step(Event.SUCCEED, reason, now), result=result))

    def fail(self, error: Status, now: datetime) -> Job:
        """Return the job as failed for good; FailedPrecondition without a lease."""
        return self._finished(replace(self._step(Event.FAIL, error.message, now), error=error))

    def stop(self, now: datetime) -> Job:
        """Return the job as cancelled: its trainer confirms.

        Raises:
            FailedPrecondition: If nobody asked it to stop.
        """
        return self._finished(self._step(Event.STOP, "Stopped on request.", now))

    def lose(self, error: Status, now: datetime) -> Job:
        """Return the job after its trainer gave it back; queued again while that is allowed.

        Raises:
            FailedPrecondition: If it holds no lease.
        """
        return self._finished(self._lost(Event.LOSE, error.message, now))

    def run_out(self, failed: FailedLayout, now: datetime) -> Job:
        """Return the job after memory was not enough, to go on with another layout.

        Raises:
            FailedPrecondition: If it holds no lease.
        """
        job = self._step(Event.LOSE, failed.reason, now)
        return self._finished(replace(job, failed=(*self.failed, failed), progress=None))

    def expire(self, why: str, now: datetime) -> Job:
        """Return the job after its lease ended by itself; queued again while that is allowed.

        Args:
            why: A sentence.
            now: The present moment.

        Raises:
            FailedPrecondition: If it holds no lease.
        """
        return self._lost(Event.EXPIRE, why, now)

    def _lost(self, event: Event, why: str, now: datetime) -> Job:
        if self.state is State.CANCELLING:
            return self._step(event, f"Stopped on request. {why}", now)
        if self.state is State.PAUSING:
            return self._step(event, f"Paused; continues from its last checkpoint. {why}", now)
        if self.loss_count < LOSSES_MAX:
            count = self.loss_count + 1
            reason = f"Queued again ({count} of at most {LOSSES_MAX} times). {why}"
            return replace(self._step(event, reason, now), loss_count=count, progress=None)
        text = (
            f"The job lost its worker {self.loss_count + 1} times; it is queued again at most "
            f"{LOSSES_MAX} times. The last time: {why} Look at the trainer's log, then approve "
            "the spec again."
        )
        given_up = self._step(Event.GIVE_UP, text, now)
        return replace(given_up, error=Status(code=CODE_ABORTED, message=text))

    def _finished(self, job: Job) -> Job:
        return replace(job, finished_fence=self.attempt_count)

    def _step(self, event: Event, reason: str, now: datetime) -> Job:
        state = next_state(self.state, event, self.name)
        job = replace(self, state=state, state_reason=reason, update_time=now)
        if state is not State.QUEUED:
            job = replace(job, promised_start_time=None, promised_node="")
        if state not in LEASED:
            job = replace(
                job,
                node="",
                instance="",
                lease_expire_time=None,
                lease_time=None,
                expected_s=0.0,
                price_micro_usd_per_hour=0,
                layout=None,
                device_s=self.device_s + self.held_s(now),
                spent_micro_usd=self.cost_micro_usd(now),
            )
        if state in FINAL:
            job = replace(job, end_time=now)
        return job
