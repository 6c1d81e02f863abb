"""Which runs are asked to stop at their next checkpoint; pure.

Nothing is killed: a run is asked to make room or to pause, writes a checkpoint and goes on from it
later. Only runs of low priority make room, and each at most three times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.scheduler.queue.entry import Account, Priority, Running, Snapshot, Waiting
from services.scheduler.queue.quota import over_budget
from services.scheduler.queue.wait import Wait

YIELDS_MAX = 3
"""A run makes room so often and then no more, so that it ends one day; our choice."""
PATIENCE_S = 300.0
"""A start that is nearer than this is waited for: stopping a run costs it a start; our choice."""
STOPS_MAX = 16
"""Runs that one pass asks to stop to make room."""


class Cause(StrEnum):
    """Why a run is asked to stop."""

    YIELD = "YIELD"
    """A higher priority waits; it is queued again at once."""
    BUDGET = "BUDGET"
    """Its project's budget is spent; it is paused until somebody resumes it."""
    DEVICE_HOURS = "DEVICE_HOURS"
    """Its project's device-hours are used up; likewise."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A run that is to stop at its next checkpoint."""

    job: str
    cause: Cause
    beneficiary: str = ""
    """The job that it makes room for."""


def cause_words(stop: Stop, account: Account) -> str:
    """Return the sentence that says why a run is to stop.

    Args:
        stop: What the pass decided.
        account: Of the run's project.
    """
    if stop.cause is Cause.YIELD:
        return f"Makes room for {stop.beneficiary}, which has a higher priority."
    quota, then = account.quota, "ask who runs this cluster to raise it, then resume the job."
    if stop.cause is Cause.BUDGET:
        usd = (quota.budget_micro_usd or 0) / 1e6
        return f"Its project's budget of ${usd:,.2f} is spent; {then}"
    hours = (quota.device_s_max or 0.0) / 3600
    return f"Its project's quota of {hours:g} device-hours is used up; {then}"


def budget_stops(snapshot: Snapshot) -> list[Stop]:
    """Return the runs of projects that have used up what they may.

    A spent budget stops no run that costs nothing.
    """
    causes = {Wait.BUDGET: Cause.BUDGET, Wait.DEVICE_HOURS: Cause.DEVICE_HOURS}
    found = over_budget(snapshot)
    return [
        Stop(job.id, causes[found[job.project]])
        for job in snapshot.running
        if job.project in found
        and not job.stopping
        and (found[job.project] is not Wait.BUDGET or job.cost_micro_usd + job.rest_micro_usd)
    ]


def yield_stops(snapshot: Snapshot, candidates: Sequence[tuple[Waiting, float]]) -> list[Stop]:
    """Return the runs of low priority that make room for jobs that would wait long otherwise.

    Args:
        snapshot: Of this pass.
        candidates: Jobs that wait for room, and when each is likely to start; in their order.
    """
    if all(job.priority > Priority.LOW or job.stopping for job in snapshot.running):
        return []
    free = {machine.id: machine.free for machine in snapshot.machines}
    pools: dict[str, list[str]] = defaultdict(list)
    for machine in snapshot.machines:
        pools[machine.pool].append(machine.id)
    on_machine: dict[str, list[Running]] = defaultdict(list)
    for job in snapshot.running:
        if len(job.machines) != 1:
            continue  # A gang over several machines is left alone.
        machine_id = job.machines[0]
        if job.stopping:
            # What stops already is room that is about to come.
            free[machine_id] = free.get(machine_id, 0) + job.slots
        elif job.priority is Priority.LOW and job.yield_count < YIELDS_MAX:
            on_machine[machine_id].append(job)
    stops: list[Stop] = []
    for waiting, start_s in candidates:
        if waiting.priority is Priority.LOW or start_s - snapshot.now_s < PATIENCE_S:
            continue
        chosen = _choose(waiting, pools, free, on_machine)
        if chosen is None or len(stops) + len(chosen[1]) > STOPS_MAX:
            continue
        machine_id, victims = chosen
        for victim in victims:
            on_machine[machine_id].remove(victim)
            free[machine_id] += victim.slots
            stops.append(Stop(victim.id, Cause.YIELD, waiting.id))
        free[machine_id] -= waiting.options[0].slots
    return stops


def _choose(
    waiting: Waiting,
    pools: dict[str, list[str]],
    free: dict[str, int],
    on_machine: dict[str, list[Running]],
) -> tuple[str, list[Running]] | None:
    """Return the machine where least work is interrupted, with the runs to stop there."""
    best: tuple[float, str, list[Running]] | None = None
    for option in waiting.options:
        for machine_id in pools.get(option.pool, ()):
            # The newest first: they have least to repeat if their checkpoint fails.
            runs = sorted(on_machine[machine_id], key=lambda job: -job.start_s)
            room, victims = free[machine_id], []
            for job in runs:
                if room >= option.slots:
                    break
                room += job.slots
                victims.append(job)
            if room < option.slots:
                continue
            lost = sum(job.slots for job in victims)
            if best is None or (lost, machine_id) < best[:2]:
                best = (lost, machine_id, victims)
    return None if best is None else best[1:]
