"""Why a job waits, and the words for it; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.scheduler.queue.entry import Account


class Wait(StrEnum):
    """What a queued job waits for."""

    NEXT = "NEXT"
    """A trainer is about to take it."""
    ROOM = "ROOM"
    """It is promised a start, when what runs there ends."""
    AHEAD = "AHEAD"
    """Others are before it."""
    RUNNING_JOBS = "RUNNING_JOBS"
    """Its project runs as many jobs as it may."""
    DEVICE_HOURS = "DEVICE_HOURS"
    """Its project has used, or is about to use, the device-hours that it may."""
    BUDGET = "BUDGET"
    """Its project's budget is spent or would be exceeded."""
    NOWHERE = "NOWHERE"
    """No live machine can run it."""


QUOTAS = frozenset((Wait.RUNNING_JOBS, Wait.DEVICE_HOURS, Wait.BUDGET))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a queued job may expect."""

    position: int
    """1 for the first; all that wait are counted."""
    wait: Wait
    start_s: float | None = None
    """Estimated; None when nobody can say."""
    end_s: float | None = None
    """Estimated, likewise."""
    machines: tuple[str, ...] = ()
    """Where it starts, once that is known."""
    share: float = 1.0
    """How much its project has had of late, over the mean of those that use the machines."""


MUCH = 1.5
"""From so many times the mean share on, a sentence says that the project has had its share."""


def words(outlook: Outlook, account: Account) -> str:
    """Return one or two sentences that say why a job waits, and the remedy where there is one.

    Args:
        outlook: Of the job.
        account: Of its project.
    """
    quota = account.quota
    match outlook.wait:
        case Wait.NEXT:
            return "A trainer is about to take it."
        case Wait.ROOM:
            return f"Waits for {' and '.join(outlook.machines)} to finish what it runs."
        case Wait.RUNNING_JOBS:
            count = quota.running_jobs_max
            return (
                f"Its project runs as many jobs at once as it may ({count}); it follows when one "
                "of them ends."
            )
        case Wait.DEVICE_HOURS:
            hours = (quota.device_s_max or 0.0) / 3600
            return (
                f"Its project may use {hours:g} device-hours and this job would exceed them; ask "
                "who runs this cluster to raise the quota."
            )
        case Wait.BUDGET:
            usd = (quota.budget_micro_usd or 0) / 1e6
            return (
                f"Its project's budget of ${usd:,.2f} is spent or would be exceeded by this job; "
                "ask who runs this cluster to raise it."
            )
        case Wait.NOWHERE:
            return "No live trainer can run it."
    count = outlook.position - 1
    before = "One job is" if count == 1 else f"{count} jobs are"
    because = ""
    if outlook.share >= MUCH:
        because = (
            f" Its project has had {outlook.share:.1f} times the usual share of late, so others "
            "go first."
        )
    return f"{before} before it.{because}" if count else "Waits for a trainer to be free."
