"""The row in which jobs wait: what was promised, what has waited long, then fair share; pure.

No job waits for ever: after a day it stands before all jobs that have not waited as long, whatever
their project and priority. From then on it is passed only by promises that were made already, at
most four in each pool, and by older jobs.
"""

from __future__ import annotations

from services.scheduler.queue.entry import Snapshot, Waiting
from services.scheduler.queue.share import fair_order

AGED_S = 86_400.0
"""After so long a job goes before all younger ones; a day, our choice."""


def attune_order(snapshot: Snapshot) -> list[Waiting]:
    """Return all that wait, in the order in which they are looked at."""
    promised, aged, others = [], [], []
    for job in snapshot.waiting:
        if job.promise is not None:
            promised.append((job.promise.start_s, job.submit_s, job.id, job))
        elif snapshot.now_s - job.submit_s >= AGED_S:
            aged.append((job.submit_s, job.id, job))
        else:
            others.append(job)
    promised.sort(key=lambda row: row[:3])
    aged.sort(key=lambda row: row[:2])
    fair = fair_order(others, snapshot)
    return [row[3] for row in promised] + [row[2] for row in aged] + fair


def first_come_order(snapshot: Snapshot) -> list[Waiting]:
    """Return all that wait by arrival; what `bench/traces.py` compares with."""
    return sorted(snapshot.waiting, key=lambda job: (job.submit_s, job.id))


def share_order(snapshot: Snapshot) -> list[Waiting]:
    """Return all that wait by fair share alone; what `bench/traces.py` compares with."""
    return fair_order(snapshot.waiting, snapshot)
