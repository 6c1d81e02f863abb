"""Snapshots for tests of the queue."""

from services.scheduler.queue.entry import (
    Account,
    Machine,
    Option,
    Priority,
    Promise,
    Quota,
    Running,
    Snapshot,
    Waiting,
)

NOW_S = 100_000.0
HOUR_S = 3600.0


def a_waiting(
    job: str,
    *,
    project: str = "p",
    submit_s: float = NOW_S - 3 * HOUR_S,
    slots: int = 1,
    expected_s: float = HOUR_S,
    pools: tuple[str, ...] = ("all",),
    priority: Priority = Priority.NORMAL,
    promise: Promise | None = None,
    cost: int = 0,
) -> Waiting:
    options = tuple(Option(pool, slots, expected_s, cost) for pool in pools)
    return Waiting(job, project, submit_s, options, priority, promise)


def a_running(
    job: str,
    machine: str = "m0",
    *,
    project: str = "p",
    slots: int = 1,
    left_s: float = HOUR_S,
    for_s: float = HOUR_S,
    **values,
) -> Running:
    return Running(job, project, (machine,), slots, NOW_S - for_s, NOW_S + left_s, **values)


def a_snapshot(waiting=(), running=(), machines=(), accounts=None) -> Snapshot:
    return Snapshot(NOW_S, list(waiting), list(running), list(machines), accounts or {})


def idle(count: int = 1, slots: int = 1, pool: str = "all") -> list[Machine]:
    return [Machine(f"m{index}", pool, slots, slots) for index in range(count)]


def busy(count: int = 1, slots: int = 1, pool: str = "all") -> list[Machine]:
    return [Machine(f"m{index}", pool, slots, 0) for index in range(count)]


def an_account(weight: float = 1.0, recent_s: float = 0.0, **values) -> Account:
    quota = {name: values.pop(name) for name in list(values) if name in Quota.__slots__}
    return Account(weight, Quota(**quota), recent_s, **values)


def started(schedule) -> list[str]:
    return [start.job for start in schedule.starts]
