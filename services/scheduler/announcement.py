"""Which events tell of a change of a job; pure."""

from __future__ import annotations

from services.scheduler.job import Job
from services.scheduler.state import HAPPENED


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
