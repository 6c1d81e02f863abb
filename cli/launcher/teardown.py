"""Ends what runs here, whoever started it and whatever state the records are in."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from cli.home import Home
from cli.launcher.process_plan import TIERS
from services.common.processes import ProcessFolder, ProcessRecord, group_members

SUPERVISOR = "supervisor"
SUPERVISOR_GRACE_S = 45.0
"""It ends everything else before itself."""
GRACE_S = 10.0
SWEEPS_MAX = 3
"""A service that is ending may still have recorded a child while the first sweep ran."""


def end_supervised(folder: ProcessFolder) -> None:
    """End every recorded process but the supervisor, in the reverse of the order of starting.

    What a service started itself, an engine or a run, is ended after it, if the service has not
    done so: before, it would only start another.
    """
    for tier in reversed(TIERS):
        _end_together(folder, [record for record in folder.all() if record.name in tier])
        _end_together(folder, _strangers(folder))


def end_all(home: Home) -> list[str]:
    """End everything recorded in a home and forget it.

    Returns:
        Names of recorded processes that still live after all; none, as a rule.
    """
    folder = ProcessFolder(home.root)
    supervisor = folder.find(SUPERVISOR)
    if supervisor is not None:
        folder.end(supervisor, SUPERVISOR_GRACE_S)
    left = []
    for _ in range(SWEEPS_MAX):
        end_supervised(folder)
        left = [record.name for record in folder.all() if group_members(record)]
        if not folder.all():
            break
    for path in (home.endpoints, home.supervision):
        path.unlink(missing_ok=True)
    return left


def living(home: Home) -> list[ProcessRecord]:
    """Return the records whose process, or some other member of its group, still runs."""
    return [record for record in ProcessFolder(home.root).all() if group_members(record)]


def _strangers(folder: ProcessFolder) -> list[ProcessRecord]:
    """Return what services started themselves: an engine, runs, a model being made."""
    known = {SUPERVISOR, *(name for tier in TIERS for name in tier)}
    return [record for record in folder.all() if record.name not in known]


def _end_together(folder: ProcessFolder, records: Iterable[ProcessRecord]) -> None:
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda record: folder.end(record, GRACE_S), records))
