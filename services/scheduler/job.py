"""A job: an approved spec on its way to an adapter, and every change that it may go through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from attune.scheduler.v1.scheduler_pb2 import JobProgress, JobResult
from attune.spec.v1.spec_pb2 import Spec
from google.rpc.status_pb2 import Status

from services.common import names
from services.common.errors import FailedPrecondition, InvalidArgument, Violation, invalid

SPEC_NAME = "projects/{project}/specs/{spec}"
JOB_NAME = "projects/{project}/jobs/{job}"
RUN_NAME = "projects/{project}/runs/{run}"
LOSSES_MAX = 5
"""How often a job that lost its worker is queued again; after the next loss it fails."""
CODE_ABORTED = 10
"""`google.rpc.Code.ABORTED`."""


class State(StrEnum):
    """Where a job is in its life."""

    QUEUED = "QUEUED"
    """Waits for a node."""
    RUNNING = "RUNNING"
    """A trainer holds its lease."""
    CANCELLING = "CANCELLING"
    """Asked to stop; the trainer has not confirmed yet."""
    SUCCEEDED = "SUCCEEDED"
    """Final. The adapter and its report exist."""
    FAILED = "FAILED"
    """Final. `error` says why."""
    CANCELLED = "CANCELLED"
    """Final. Stopped on request."""


class Event(StrEnum):
    """What can happen to a job."""

    LEASE = "LEASE"
    """A trainer takes it."""
    RENEW = "RENEW"
    """The trainer keeps it."""
    CANCEL = "CANCEL"
    """A person wants it stopped."""
    SUCCEED = "SUCCEED"
    """The run ended with a result."""
    FAIL = "FAIL"
    """The run ended for good, without one."""
    STOP = "STOP"
    """The run ended because it was asked to."""
    LOSE = "LOSE"
    """The trainer gives it back; another may go on."""
    EXPIRE = "EXPIRE"
    """The trainer was not heard of in time, or started anew."""
    GIVE_UP = "GIVE_UP"
    """It was lost or expired once more than is allowed."""


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.QUEUED, Event.LEASE): State.RUNNING,
    (State.QUEUED, Event.CANCEL): State.CANCELLED,
    (State.RUNNING, Event.RENEW): State.RUNNING,
    (State.RUNNING, Event.CANCEL): State.CANCELLING,
    (State.RUNNING, Event.SUCCEED): State.SUCCEEDED,
    (State.RUNNING, Event.FAIL): State.FAILED,
    (State.RUNNING, Event.LOSE): State.QUEUED,
    (State.RUNNING, Event.EXPIRE): State.QUEUED,
    (State.RUNNING, Event.GIVE_UP): State.FAILED,
    (State.CANCELLING, Event.RENEW): State.CANCELLING,
    (State.CANCELLING, Event.CANCEL): State.CANCELLING,
    # The run was over before it heard that it should stop: what exists is not thrown away.
    (State.CANCELLING, Event.SUCCEED): State.SUCCEEDED,
    (State.CANCELLING, Event.FAIL): State.FAILED,
    (State.CANCELLING, Event.STOP): State.CANCELLED,
    (State.CANCELLING, Event.LOSE): State.CANCELLED,
    (State.CANCELLING, Event.EXPIRE): State.CANCELLED,
    (State.CANCELLED, Event.CANCEL): State.CANCELLED,
}
"""Every legal change; what is not here is refused."""

LEASED = frozenset({State.RUNNING, State.CANCELLING})
"""States in which a trainer holds a lease."""
FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
"""States that never change."""

HAPPENED = {
    State.QUEUED: "job.queued",
    State.RUNNING: "job.started",
    State.SUCCEEDED: "job.succeeded",
    State.FAILED: "job.failed",
    State.CANCELLED: "job.cancelled",
}
"""The event that tells of a job's arrival in a state. CANCELLING is told by `job.cancelled`."""


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
    state: State = State.QUEUED
    state_reason: str = ""
    stage_index: int = 0
    attempt_count: int = 0
    """Leases given so far; also the newest fence."""
    loss_count: int = 0
    """Leases that ended without an outcome, so that it was queued again."""
    finished_fence: int = 0
    """Fence of the newest lease that its trainer ended itself; 0 when there is none."""
    node: str = ""
    """Id of the node that holds the lease; empty without one."""
    instance: str = ""
    """The node's worker that holds it."""
    lease_expire_time: datetime | None = None
    progress: JobProgress | None = None
    result: JobResult | None = None
    error: Status | None = None
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
        return f"projects/{project}/runs/{job}-s{self.stage_index}"

    def lease(self, node: str, instance: str, expire_time: datetime, now: datetime) -> Job:
        """Return the job in the hands of a node's worker, with the next fence.

        Raises:
            FailedPrecondition: If it is not queued.
        """
        leased = self._step(Event.LEASE, f"Runs on {node}, attempt {self.attempt_count + 1}.", now)
        return replace(
            leased,
            attempt_count=self.attempt_count + 1,
            node=node,
            instance=instance,
            lease_expire_time=expire_time,
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
        if self.state in FINAL:
            raise FailedPrecondition(
                f"{self.name} has {self.state.lower()} already and cannot be cancelled.",
                reason="JOB_ENDED",
                job=self.name,
                state=self.state.lower(),
            )
        reason = "Cancelled on request before it started."
        if self.state is State.RUNNING:
            reason = "Asked to stop; waits for the trainer to confirm."
        return self._step(Event.CANCEL, reason, now)

    def succeed(self, result: JobResult, now: datetime) -> Job:
        """Return the job with its result.

        Raises:
            FailedPrecondition: If it holds no lease.
        """
        reason = "The adapter and its report exist."
        if self.state is State.CANCELLING:
            reason = "It had finished before it could be stopped; the adapter and report exist."
        return self._finished(replace(self._step(Event.SUCCEED, reason, now), result=result))

    def fail(self, error: Status, now: datetime) -> Job:
        """Return the job as failed for good.

        Raises:
            FailedPrecondition: If it holds no lease.
        """
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
        if state not in LEASED:
            job = replace(job, node="", instance="", lease_expire_time=None)
        if state in FINAL:
            job = replace(job, end_time=now)
        return job


def next_state(state: State, event: Event, name: str) -> State:
    """Return the state after an event.

    Raises:
        FailedPrecondition: If the event may not happen in that state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise FailedPrecondition(
            f"{name} is {state}; {event} is not possible there. Read the job again.",
            reason="ILLEGAL_TRANSITION",
            job=name,
            state=state,
            event=event,
        ) from None


def events_of(before: Job | None, after: Job) -> list[str]:
    """Return the events that tell of a change: at most one, none when nobody needs to know.

    Args:
        before: The job before it; None when it was made.
        after: The job after it.
    """
    if before is None or before.state is not after.state:
        return [HAPPENED[after.state]] if after.state in HAPPENED else []
    if after.progress is not None and after.progress.phase:
        phase = before.progress.phase if before.progress is not None else 0
        if after.progress.phase != phase:
            return ["job.phase_changed"]
    return []


def new_job(spec: Spec, job_id: str, now: datetime) -> Job:
    """Return the job of an approved spec.

    Args:
        spec: Approved; as the planner sent it.
        job_id: A new identifier.
        now: The present moment.

    Raises:
        InvalidArgument: If it is not an approved spec whose bytes have the approved hash.
    """
    project = names.parse(spec.name, SPEC_NAME, field="spec.name")["project"]
    approval = spec.approval
    if approval.revision < 1:
        text = f"Approval of revision {approval.revision}; revisions count from 1. Approve it."
        raise invalid([Violation("spec.approval.revision", "RANGE", text)])
    found = sha256(approval.canonical_spec).hexdigest()
    if found != approval.hash:
        text = (
            f"The approved bytes have the hash {found}, not the approved '{approval.hash}'. "
            "Approve the spec again."
        )
        raise invalid([Violation("spec.approval.hash", "HASH", text)])
    return Job(
        name=f"projects/{project}/jobs/{job_id}",
        spec=spec.name,
        spec_revision=approval.revision,
        spec_hash=approval.hash,
        approved_spec=spec,
        create_time=now,
        update_time=now,
    )


def job_of_run(run: str) -> str:
    """Return the name of the job that a run belongs to.

    Raises:
        InvalidArgument: If it is not the name of a run.
    """
    parts = names.parse(run, RUN_NAME, field="run")
    job, separator, stage = parts["run"].rpartition("-s")
    if not separator or not stage.isdigit():
        raise _bad_run(run)
    return f"projects/{parts['project']}/jobs/{job}"


def _bad_run(run: str) -> InvalidArgument:
    text = f"'{run[:200]}' is not the name of a run, projects/{{project}}/runs/{{job}}-s{{stage}}."
    return invalid([Violation("run", "RESOURCE_NAME", text)])
