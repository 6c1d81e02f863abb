"""A cluster in simulated time that is ruled by the scheduler's own pass over the queue.

Nothing of the queue is written again here: whatever starts, starts because
`services.scheduler.queue.schedule.make_schedule` said so.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.scheduler.queue.entry import (
    NEWCOMER,
    Account,
    Machine,
    Option,
    Promise,
    Running,
    Snapshot,
    Waiting,
)
from services.scheduler.queue.schedule import ATTUNE, Rules, Schedule, make_schedule
from services.scheduler.queue.share import decay

END, ARRIVE, LOOK = 0, 1, 2
"""What happens; ends come first at one moment, so that their room is there."""


@dataclass(frozen=True, slots=True)
class Task:
    """A job of the simulation."""

    id: str
    project: str
    submit_s: float
    true_s: float
    """What it takes."""
    expected_s: float
    """What the scheduler believes."""
    slots: int = 1
    pools: tuple[str, ...] = ("all",)


@dataclass(slots=True)
class Record:
    """What became of a task."""

    task: Task
    start_s: float
    end_s: float
    promise_s: float | None
    """The first start that it was promised."""


@dataclass(slots=True)
class Cluster:
    """Machines, what runs on them, and what waits."""

    machines: Sequence[Machine]
    rules: Rules = ATTUNE
    records: list[Record] = field(default_factory=list)
    passes: int = 0
    now_s: float = 0.0
    _events: list[tuple[float, int, str]] = field(default_factory=list)
    _tasks: dict[str, Task] = field(default_factory=dict)
    _waiting: dict[str, Waiting] = field(default_factory=dict)
    _running: dict[str, Running] = field(default_factory=dict)
    _free: dict[str, int] = field(default_factory=dict)
    _first_promise: dict[str, float] = field(default_factory=dict)
    _looks: set[float] = field(default_factory=set)
    _used: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By project: past use, and when it counted so much."""

    def run(self, tasks: Sequence[Task]) -> list[Record]:
        """Live through all tasks and return what became of them."""
        self._free = {machine.id: machine.slots for machine in self.machines}
        self._tasks = {task.id: task for task in tasks}
        self._events = [(task.submit_s, ARRIVE, task.id) for task in tasks]
        heapq.heapify(self._events)
        while self._events:
            self.now_s = self._events[0][0]
            while self._events and self._events[0][0] <= self.now_s:
                _, kind, task_id = heapq.heappop(self._events)
                if kind == ARRIVE:
                    self._arrive(self._tasks[task_id])
                elif kind == END:
                    self._end(task_id)
            if self._waiting:
                self._take(make_schedule(self.snapshot(), self.rules))
        return self.records

    def snapshot(self) -> Snapshot:
        """Return what the scheduler would see now."""
        return Snapshot(
            self.now_s,
            list(self._waiting.values()),
            list(self._running.values()),
            [
                Machine(machine.id, machine.pool, machine.slots, self._free[machine.id])
                for machine in self.machines
            ],
            {project: self._account(project) for project in self._used},
        )

    def _account(self, project: str) -> Account:
        used_s, at_s = self._used.get(project, (0.0, self.now_s))
        return Account(NEWCOMER.weight, NEWCOMER.quota, decay(used_s, self.now_s - at_s))

    def _arrive(self, task: Task) -> None:
        options = tuple(Option(pool, task.slots, task.expected_s) for pool in task.pools)
        self._waiting[task.id] = Waiting(task.id, task.project, self.now_s, options)

    def _take(self, schedule: Schedule) -> None:
        """Do what a pass decided, and keep what it promised for the next one."""
        self.passes += 1
        for start in schedule.starts:
            task, waiting = self._tasks[start.job], self._waiting.pop(start.job)
            slots = self._occupy(start.machines, task.slots)
            expected_s = waiting.options[start.option_index].expected_s
            self._running[task.id] = Running(
                task.id, task.project, start.machines, slots, self.now_s, self.now_s + expected_s
            )
            heapq.heappush(self._events, (self.now_s + task.true_s, END, task.id))
        self._look_at_promises(schedule)
        for job, waiting in self._waiting.items():
            promise = schedule.promises.get(job)
            if promise != waiting.promise:
                self._promise(waiting, promise)

    def _look_at_promises(self, schedule: Schedule) -> None:
        """Look again when a promise begins on machines that are free for it, as no end tells of it.

        The service looks all the time.
        """
        for job, promise in schedule.promises.items():
            free = sum(self._free[machine] for machine in promise.machines)
            if free < self._tasks[job].slots or promise.start_s in self._looks:
                continue
            if promise.start_s > self.now_s:
                self._looks.add(promise.start_s)
                heapq.heappush(self._events, (promise.start_s, LOOK, ""))

    def _promise(self, waiting: Waiting, promise: Promise | None) -> None:
        self._waiting[waiting.id] = Waiting(
            waiting.id,
            waiting.project,
            waiting.submit_s,
            waiting.options,
            waiting.priority,
            promise,
        )
        if promise is not None:
            self._first_promise.setdefault(waiting.id, promise.start_s)

    def _occupy(self, machines: Sequence[str], slots: int) -> int:
        """Take a job's slots: some of one machine, or several whole machines."""
        if len(machines) == 1:
            self._free[machines[0]] -= slots
            assert self._free[machines[0]] >= 0
            return slots
        taken = 0
        for machine in machines:
            taken += self._free[machine]
            self._free[machine] = 0
        assert taken >= slots
        return taken

    def _end(self, task_id: str) -> None:
        job = self._running.pop(task_id)
        for machine in job.machines:
            self._free[machine] += job.slots // len(job.machines)
        used_s = self._account(job.project).recent_s + job.slots * (self.now_s - job.start_s)
        self._used[job.project] = (used_s, self.now_s)
        self.records.append(
            Record(self._tasks[task_id], job.start_s, self.now_s, self._first_promise.get(task_id))
        )
