"""One pass over the queue: what starts, what stops, and what everybody else may expect; pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from services.scheduler.queue.backfill import Field
from services.scheduler.queue.entry import Option, Promise, Snapshot, Waiting
from services.scheduler.queue.forecast import Forecast
from services.scheduler.queue.order import attune_order
from services.scheduler.queue.preemption import Stop, budget_stops, yield_stops
from services.scheduler.queue.quota import Ledger
from services.scheduler.queue.share import used_shares
from services.scheduler.queue.wait import Outlook, Wait

PROMISES_MAX = 4
"""Starts that are promised at one time in each pool."""
PATIENCE = 2.0
"""A job is promised a start when it has waited so many times what it takes. Held room is idle
room: with promises from the first minute on everybody ended later. Of 0, 0.5 and 2, and of 1, 2 and
4 promises, these did best in `bench/traces.py`, with estimates off by sigma 0.3."""
PATIENCE_MAX_S = 6 * 3600.0
"""After so long it is promised one in any case; our choice."""
CANDIDATES_MAX = 64
"""Jobs, the first ones, for which others may have to make room."""


class Blocked(StrEnum):
    """What a job that cannot start now means to those behind it."""

    PROMISE = "PROMISE"
    """When it has waited long it is promised a start; those behind may not delay that."""
    PASS = "PASS"
    """They may start."""
    STOP = "STOP"
    """They may not."""


@dataclass(frozen=True)
class Rules:
    """How a pass decides; others than Attune's exist to be compared with."""

    order: Callable[[Snapshot], list[Waiting]] = attune_order
    blocked: Blocked = Blocked.PROMISE
    promises_max: int = PROMISES_MAX
    patience: float = PATIENCE
    foretell: bool = True
    """Whether jobs without a promise get an estimate."""


ATTUNE = Rules()


@dataclass(frozen=True, slots=True)
class Start:
    """A job that starts now."""

    job: str
    option_index: int
    machines: tuple[str, ...]


@dataclass(slots=True)
class Schedule:
    """What a pass decided."""

    starts: list[Start] = field(default_factory=list)
    promises: dict[str, Promise] = field(default_factory=dict)
    """Of jobs that wait; new ones, old ones, and old ones that became sooner."""
    stops: list[Stop] = field(default_factory=list)
    outlooks: dict[str, Outlook] = field(default_factory=dict)
    """Of all that wait."""


def make_schedule(snapshot: Snapshot, rules: Rules = ATTUNE) -> Schedule:
    """Decide everything from one moment's facts; equal facts give equal decisions."""
    return _Pass(snapshot, rules).decide()


class _Pass:
    """The state of one pass."""

    def __init__(self, snapshot: Snapshot, rules: Rules) -> None:
        self._snapshot = snapshot
        self._rules = rules
        self._row = rules.order(snapshot)
        self._field = Field(snapshot.now_s, snapshot.machines, snapshot.running)
        self._ledger = Ledger(snapshot)
        self._made = Schedule()
        self._kept: dict[str, tuple[Option, Promise]] = {}
        self._holds: dict[str, Wait] = {}
        self._promised: dict[str, int] = defaultdict(int)

    def decide(self) -> Schedule:
        """Go through the row once for decisions and once for estimates."""
        if self._rules.blocked is Blocked.PROMISE:
            self._keep_promises()
        for job in self._row:
            if not self._place(job) and self._rules.blocked is Blocked.STOP:
                break
        if self._rules.foretell:
            self._foretell()
        made = self._made
        made.promises = {job: promise for job, (_, promise) in self._kept.items()}
        made.stops = budget_stops(self._snapshot)
        asked = {stop.job for stop in made.stops}
        made.stops += [
            stop
            for stop in yield_stops(self._snapshot, self._candidates())
            if stop.job not in asked
        ]
        return made

    def _candidates(self) -> list[tuple[Waiting, float]]:
        """Return the first jobs that wait for room, and when each is likely to start."""
        starting = {start.job for start in self._made.starts}
        found: list[tuple[Waiting, float]] = []
        for job in self._row:
            if len(found) == CANDIDATES_MAX:
                break
            if job.id in starting or job.id in self._holds:
                continue
            outlook = self._made.outlooks.get(job.id)
            start_s = None if outlook is None else outlook.start_s
            found.append((job, math.inf if start_s is None else start_s))
        return found

    def _keep_promises(self) -> None:
        """Hold every earlier promise as it was, then let each move to something sooner.

        In this order no promise can become later through another one.
        """
        jobs = [job for job in self._row if job.promise is not None]
        for job in jobs:
            option = self._option_of(job)
            if option and job.promise and self._field.hold(job.id, option, job.promise):
                self._keep(job.id, option, job.promise)
        for job in jobs:
            if job.id in self._kept:
                option, promise = self._kept.pop(job.id)
                self._promised[option.pool] -= 1
                self._field.let_go(job.id, promise.machines)
                sooner = self._soonest(self._ledger.affordable(job))
                if sooner is not None and sooner[1].start_s < promise.start_s:
                    option, promise = sooner
                self._field.hold(job.id, option, promise)
                self._keep(job.id, option, promise)

    def _place(self, job: Waiting) -> bool:
        """Start a job, or promise it a start; return whether those behind it may go on."""
        wait = Wait.NOWHERE if not job.options else self._ledger.hold(job)
        if wait is not None:
            self._drop(job.id)
            self._holds[job.id] = wait
            return True
        kept = self._kept.get(job.id)
        if kept is not None:
            if kept[1].start_s > self._snapshot.now_s:
                return True
            self._drop(job.id)
        for option in self._ledger.affordable(job):
            machines = self._field.fit_now(option)
            if machines:
                self._field.start(machines, option)
                self._ledger.charge(job, option)
                self._made.starts.append(Start(job.id, job.options.index(option), machines))
                return True
        if self._rules.blocked is Blocked.PROMISE:
            self._promise(job)
        return False

    def _promise(self, job: Waiting) -> None:
        waited_s = self._snapshot.now_s - job.submit_s
        expected_s = job.options[0].expected_s
        if waited_s < min(self._rules.patience * expected_s, PATIENCE_MAX_S):
            return
        most = self._rules.promises_max
        options = self._ledger.affordable(job)
        options = [option for option in options if self._promised[option.pool] < most]
        found = self._soonest(options) if options else None
        if found is not None and self._field.hold(job.id, *found):
            self._keep(job.id, *found)

    def _soonest(self, options: Sequence[Option]) -> tuple[Option, Promise] | None:
        """Return the option that ends first; of equal ones the preferred."""
        best: tuple[Option, Promise] | None = None
        for option in options:
            promise = self._field.earliest(option)
            if promise is not None and (
                best is None
                or promise.start_s + option.expected_s < best[1].start_s + best[0].expected_s
            ):
                best = (option, promise)
        return best

    def _option_of(self, job: Waiting) -> Option | None:
        """Return the option that a promise was made with: the one of its machines."""
        pools = {machine.id: machine.pool for machine in self._snapshot.machines}
        for option in job.options:
            if job.promise and pools.get(job.promise.machines[0]) == option.pool:
                return option
        return None

    def _keep(self, job: str, option: Option, promise: Promise) -> None:
        self._kept[job] = (option, promise)
        self._promised[option.pool] += 1

    def _drop(self, job: str) -> None:
        """Give up the room that was kept for a job, because it starts or may not start."""
        kept = self._kept.pop(job, None)
        if kept is not None:
            self._promised[kept[0].pool] -= 1
            self._field.let_go(job, kept[1].machines)

    def _foretell(self) -> None:
        """Say when everybody is likely to start and end, in the order of the row."""
        snapshot, starts = self._snapshot, {start.job: start for start in self._made.starts}
        forecast = Forecast(self._field.slot_times())
        for option, promise in self._kept.values():
            forecast.promise(option, promise.start_s)
        shares = used_shares(snapshot)
        mean = sum(shares.values()) / len(shares) if shares else 0.0
        no_machines: tuple[str, ...] = ()
        for position, job in enumerate(self._row, 1):
            wait, machines = Wait.AHEAD, no_machines
            times: tuple[float, float] | None = None
            if job.id in starts:
                start = starts[job.id]
                wait, machines = Wait.NEXT, start.machines
                expected_s = job.options[start.option_index].expected_s
                times = (snapshot.now_s, snapshot.now_s + expected_s)
            elif job.id in self._holds:
                wait = self._holds[job.id]
            elif job.id in self._kept:
                option, promise = self._kept[job.id]
                wait, machines = Wait.ROOM, promise.machines
                times = (promise.start_s, promise.start_s + option.expected_s)
            else:
                times = forecast.add(job)
            share = shares.get(job.project, 0.0) / mean if mean > 0 else 1.0
            start_s, end_s = times if times else (None, None)
            self._made.outlooks[job.id] = Outlook(position, wait, start_s, end_s, machines, share)
