"""What a project may use: who may start, and who must pause; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from services.scheduler.queue.entry import Option, Snapshot, Waiting
from services.scheduler.queue.wait import Wait


class Ledger:
    """What every project uses, with what it is given during a pass."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Count what runs."""
        self._snapshot = snapshot
        self._jobs: dict[str, int] = defaultdict(int)
        self._device_s: dict[str, float] = defaultdict(float)
        self._micro_usd: dict[str, int] = defaultdict(int)
        for job in snapshot.running:
            self._jobs[job.project] += 1
            self._device_s[job.project] += job.slots * (
                max(job.end_s, snapshot.now_s) - job.start_s
            )
            self._micro_usd[job.project] += job.cost_micro_usd + job.rest_micro_usd

    def hold(self, job: Waiting) -> Wait | None:
        """Return why the job may not start whatever is free, or None if it may.

        A job that would not end within the budget is not begun: half of it is worth nothing.
        """
        account = self._snapshot.account(job.project)
        quota = account.quota
        jobs_max = quota.running_jobs_max
        if jobs_max is not None and self._jobs[job.project] >= jobs_max:
            return Wait.RUNNING_JOBS
        if quota.device_s_max is not None:
            used = account.device_s + self._device_s[job.project]
            if used + job.work_s > quota.device_s_max:
                return Wait.DEVICE_HOURS
        return None if self.affordable(job) else Wait.BUDGET

    def affordable(self, job: Waiting) -> Sequence[Option]:
        """Return the options that end within the budget; those that cost nothing always do."""
        budget = self._snapshot.account(job.project).quota.budget_micro_usd
        if budget is None:
            return job.options
        left = budget - self._snapshot.account(job.project).spent_micro_usd
        left -= self._micro_usd[job.project]
        costs = [(option.cost_micro_usd, option) for option in job.options]
        return [option for cost, option in costs if cost == 0 or cost <= left]

    def charge(self, job: Waiting, option: Option) -> None:
        """Count a job that starts."""
        self._jobs[job.project] += 1
        self._device_s[job.project] += option.slots * option.expected_s
        self._micro_usd[job.project] += option.cost_micro_usd


def over_budget(snapshot: Snapshot) -> dict[str, Wait]:
    """Return the projects that have used up what they may, with which of it."""
    device_s: dict[str, float] = defaultdict(float)
    micro_usd: dict[str, int] = defaultdict(int)
    for job in snapshot.running:
        device_s[job.project] += job.slots * (snapshot.now_s - job.start_s)
        micro_usd[job.project] += job.cost_micro_usd
    found = {}
    for project in micro_usd:
        account = snapshot.account(project)
        budget, longest_s = account.quota.budget_micro_usd, account.quota.device_s_max
        if budget is not None and account.spent_micro_usd + micro_usd[project] >= budget:
            found[project] = Wait.BUDGET
        elif longest_s is not None and account.device_s + device_s[project] >= longest_s:
            found[project] = Wait.DEVICE_HOURS
    return found
