"""Fair share: the next job comes from the project that has had least for its weight; pure."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable

from services.scheduler.queue.entry import HALF_LIFE_S, Snapshot, Waiting

HASTE = 3.0
"""How much a short job is preferred within its project: 0 is first come, first served. Of 0, 1, 3
and 10 this did well in `bench/traces.py` with estimates off by sigma 0.3; 10 did little better."""


def decay(used_s: float, passed_s: float) -> float:
    """Return what past use still counts after some time, halved each week."""
    return used_s * math.pow(0.5, max(passed_s, 0.0) / HALF_LIFE_S)


def used_shares(snapshot: Snapshot) -> dict[str, float]:
    """Return each project's slot-seconds for its weight: recent ones, and those of what runs.

    A running job counts whole, as if it had ended: otherwise whoever comes first could take
    everything before any of it is counted.
    """
    used: dict[str, float] = defaultdict(float)
    for project, account in snapshot.accounts.items():
        used[project] = account.recent_s
    for job in snapshot.running:
        used[job.project] += job.slots * max(job.end_s, snapshot.now_s) - job.slots * job.start_s
    return {project: value / snapshot.account(project).weight for project, value in used.items()}


def fair_order(jobs: Iterable[Waiting], snapshot: Snapshot) -> list[Waiting]:
    """Return jobs in fair order: project by project, each charged for what it is given.

    Within a project: priority, then who came first, with three times what it takes added. So a
    job passes another one only if it came at most three times as much later as it is shorter, and
    no job is passed without end.
    """
    rows: dict[str, list[Waiting]] = defaultdict(list)
    for job in jobs:
        rows[job.project].append(job)
    used = used_shares(snapshot)
    heap = []
    for project, row in rows.items():
        row.sort(key=within_project, reverse=True)
        first = row[-1]
        heap.append((used.get(project, 0.0), first.submit_s, project))
    heapq.heapify(heap)
    weights = {project: snapshot.account(project).weight for project in rows}
    ordered = []
    while heap:
        share, _, project = heap[0]
        row = rows[project]
        job = row.pop()
        ordered.append(job)
        if row:
            charged = share + job.work_s / weights[project]
            heapq.heapreplace(heap, (charged, row[-1].submit_s, project))
        else:
            heapq.heappop(heap)
    return ordered


def within_project(job: Waiting) -> tuple[int, float, float, str]:
    """Return what jobs of one project are sorted by."""
    expected_s = job.options[0].expected_s if job.options else 0.0
    return (-job.priority, job.submit_s + HASTE * expected_s, job.submit_s, job.id)
