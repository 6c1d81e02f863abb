"""What projects may use, as the operator wrote it, and what they have used; pure but for a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.scheduler.queue.entry import Account, Quota

ANY = "*"
"""The entry of every project that has none of its own."""
FIELDS = {"weight", "running_jobs_max", "device_hours_max", "budget_usd"}


@dataclass(frozen=True)
class Usage:
    """What a project has used in leases that ended."""

    recent_s: float
    """Device-seconds, halved for each week that has passed since."""
    device_s: float
    """Device-seconds ever."""
    spent_micro_usd: int


@dataclass(frozen=True)
class Share:
    """What the operator gives a project."""

    weight: float = 1.0
    quota: Quota = field(default_factory=Quota)


@dataclass(frozen=True)
class Shares:
    """What the operator gives all projects."""

    by_project: Mapping[str, Share] = field(default_factory=dict)

    def of(self, project: str) -> Share:
        """Return a project's own share, or else the one for any."""
        return self.by_project.get(project) or self.by_project.get(ANY) or Share()

    def account(self, project: str, usage: Usage | None) -> Account:
        """Return share, quota and use of a project."""
        share = self.of(project)
        if usage is None:
            return Account(share.weight, share.quota)
        return Account(
            share.weight, share.quota, usage.recent_s, usage.device_s, usage.spent_micro_usd
        )


def read_shares(path: Path | None) -> Shares:
    """Return the shares in a JSON file: an object by project id, `*` for all others.

    Each may have `weight` (above 0, default 1), `running_jobs_max` (at least 0),
    `device_hours_max` (at least 0) and `budget_usd` (at least 0); what is left out has no limit.
    Amounts count from the project's first job on; who raises them lets its jobs go on.

    Raises:
        SystemExit: If it is no such file, in one line that says where.
    """
    if path is None:
        return Shares()
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("an object by project id is expected")
        return Shares({project: _share(project, values) for project, values in found.items()})
    except (OSError, ValueError) as error:
        raise SystemExit(f"The quotas in {path} cannot be used: {error}. Correct them.") from None


def _share(project: str, values: Any) -> Share:
    if not isinstance(values, dict) or not set(values) <= FIELDS:
        raise ValueError(f"'{project}' may have {', '.join(sorted(FIELDS))} and nothing else")
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or value < 0 or (name == "weight" and value == 0):
            least = "above 0" if name == "weight" else "at least 0"
            raise ValueError(f"{name} of '{project}' is {value!r}, not a number {least}")
    hours, usd = values.get("device_hours_max"), values.get("budget_usd")
    jobs = values.get("running_jobs_max")
    return Share(
        values.get("weight", 1.0),
        Quota(
            None if jobs is None else int(jobs),
            None if hours is None else hours * 3600.0,
            None if usd is None else round(usd * 1e6),
        ),
    )
