"""The rules of leases: of all workers that ever held a run, only the newest one's writes count."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.common import names
from services.common.errors import FailedPrecondition, InvalidArgument, Violation, invalid
from services.scheduler.job import Job
from services.scheduler.layout import Placement
from services.scheduler.state import LEASED

RUN_NAME = "projects/{project}/runs/{run}"


@dataclass(frozen=True)
class LeaseTerms:
    """How long leases last."""

    lease_s: float
    """Time until a lease ends unless renewed, in seconds."""
    renew_s: float
    """Time between renewals, in seconds."""

    def expire_time(self, now: datetime) -> datetime:
        """Return when a lease that is given or renewed now ends."""
        return now + timedelta(seconds=self.lease_s)


@dataclass(frozen=True)
class Lease:
    """A job in the hands of a node, with its place there."""

    job: Job
    placement: Placement
    terms: LeaseTerms


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


def check_holder(job: Job, run: str, fence: int) -> None:
    """Refuse a write by anyone but the holder of the present lease.

    A lease that is over its time, and that nobody has taken back yet, is still the present one.

    Raises:
        FailedPrecondition: With reason LEASE_LOST, if a newer lease exists or this one ended.
    """
    if job.run != run or job.attempt_count != fence:
        raise _lost(run, fence, f"the newest fence is {job.attempt_count}")
    if job.state not in LEASED:
        raise _lost(run, fence, f"the job is {job.state}")


def unknown_run(run: str, fence: int) -> FailedPrecondition:
    """Return the error for a run whose job does not exist here: its worker must stop as well."""
    return _lost(run, fence, "its job is not known here")


def is_repeat(job: Job, run: str, fence: int) -> bool:
    """Return whether a FinishRun with this fence was taken already, with no lease since."""
    return job.run == run and job.attempt_count == fence == job.finished_fence


def is_expired(job: Job, now: datetime, grace_end_time: datetime) -> bool:
    """Return whether a lease is to be taken back.

    Args:
        job: Its job.
        now: The present moment.
        grace_end_time: One lease after the scheduler started: until then trainers could not
            renew, through no fault of theirs.
    """
    if job.state not in LEASED or job.lease_expire_time is None:
        return False
    return job.lease_expire_time <= now and grace_end_time <= now


def is_orphaned(job: Job, node: str, instance: str) -> bool:
    """Return whether the job's lease died with an earlier worker of the same node.

    Args:
        job: A job.
        node: Id of a node.
        instance: The worker that runs there now.
    """
    return job.state in LEASED and job.node == node and job.instance != instance


def _lost(run: str, fence: int, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"The lease of {run} with fence {fence} is lost: {why}. Stop the run; write nothing more.",
        reason="LEASE_LOST",
        run=run,
        fence=str(fence),
        why=why,
    )


def _bad_run(run: str) -> InvalidArgument:
    text = f"'{run[:200]}' is not the name of a run, projects/{{project}}/runs/{{job}}-s{{stage}}."
    return invalid([Violation("run", "RESOURCE_NAME", text)])
