"""Room on machines, now and later, with starts that are promised; pure.

A promise holds a machine from a moment on. Another job may use it before, if by its estimate it is
gone by then; so nothing that is started delays a promise. Room is looked for machine by machine,
not by sums: eight free slots on eight machines are no room for a gang of eight.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from services.scheduler.queue.entry import Machine, Option, Promise, Running

LATE_SHARE = 0.1
LATE_MIN_S = 60.0
"""A run that is over its estimate is expected to take a tenth of its time more, and a minute at
least; our choice."""


@dataclass(slots=True)
class _Room:
    """One machine during a pass."""

    id: str
    slots: int
    free: int
    releases: list[tuple[float, int]] = field(default_factory=list)
    """When slots become free, and how many; sorted."""
    holds: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    """Promised starts by job: from, until, slots."""

    def available(self, moment_s: float) -> int:
        """Return the slots that are neither used nor promised at a moment."""
        count = self.free
        for end_s, slots in self.releases:
            if end_s > moment_s:
                break
            count += slots
        for start_s, end_s, slots in self.holds.values():
            if start_s <= moment_s < end_s:
                count -= slots
        return count

    def fits(self, start_s: float, expected_s: float, slots: int) -> bool:
        """Return whether so many slots stay available for all of a time."""
        if self.available(start_s) < slots:
            return False
        # Room shrinks only where a promise begins.
        return all(
            self.available(hold[0]) >= slots
            for hold in self.holds.values()
            if start_s < hold[0] < start_s + expected_s
        )

    def earliest(self, now_s: float, expected_s: float, slots: int) -> float | None:
        """Return the first moment from which so many slots stay available; None if never."""
        if slots > self.slots:
            return None
        moments = [now_s, *(end_s for end_s, _ in self.releases)]
        if self.holds:
            moments = sorted([*moments, *(hold[1] for hold in self.holds.values())])
        for moment_s in moments:
            if moment_s >= now_s and self.fits(moment_s, expected_s, slots):
                return moment_s
        return None


class _Pool:
    """Machines that are alike: those without a promise by their free slots, the others apart."""

    def __init__(self) -> None:
        self.rooms: list[_Room] = []
        self.open: list[dict[str, _Room]] = []
        self.held: dict[str, _Room] = {}
        self.largest = 0

    def add(self, room: _Room) -> None:
        self.rooms.append(room)
        self.largest = max(self.largest, room.slots)
        while len(self.open) <= self.largest:
            self.open.append({})
        self.sort_in(room, None)

    def sort_in(self, room: _Room, free_before: int | None) -> None:
        """Put a machine where it belongs after a change."""
        if free_before is not None:
            self.open[free_before].pop(room.id, None)
        self.held.pop(room.id, None)
        if room.holds:
            self.held[room.id] = room
        else:
            self.open[room.free][room.id] = room


class Field:
    """All machines during a pass; room on them only shrinks."""

    def __init__(
        self, now_s: float, machines: Sequence[Machine], running: Iterable[Running]
    ) -> None:
        """Take in what is free and when the rest will be."""
        self.now_s = now_s
        self._rooms: dict[str, _Room] = {}
        self._pools: dict[str, _Pool] = {}
        self._pool_of: dict[str, _Pool] = {}
        self._closed: dict[tuple[str, int], float] = {}
        self._never: set[tuple[str, int]] = set()
        for machine in sorted(machines, key=lambda machine: not machine.asking):
            free = min(max(machine.free, 0), machine.slots)
            room = self._rooms[machine.id] = _Room(machine.id, machine.slots, free)
            pool = self._pools.setdefault(machine.pool, _Pool())
            self._pool_of[machine.id] = pool
            pool.add(room)
        for job in running:
            end_s = likely_end_s(job, now_s)
            each = job.slots // max(len(job.machines), 1)
            for machine_id in job.machines:
                if machine_id in self._rooms:
                    self._rooms[machine_id].releases.append((end_s, each))
        for room in self._rooms.values():
            room.releases.sort()

    def fit_now(self, option: Option) -> tuple[str, ...]:
        """Return machines on which it can start now, delaying no promise; empty if there are none.

        The fullest machine that has room, so that wide gangs find empty ones.
        """
        pool = self._pools.get(option.pool)
        if pool is None or not pool.largest:
            return ()
        key = (option.pool, option.slots)
        if option.expected_s >= self._closed.get(key, float("inf")):
            return ()
        found = self._find(pool, option)
        if not found:
            self._closed[key] = option.expected_s
        return found

    def _find(self, pool: _Pool, option: Option) -> tuple[str, ...]:
        if option.slots > pool.largest:
            count = machine_count(option.slots, pool.largest)
            whole = list(pool.open[pool.largest])[:count]
            whole += [
                room.id
                for room in pool.held.values()
                if room.free == pool.largest
                and room.fits(self.now_s, option.expected_s, room.slots)
            ]
            return tuple(whole[:count]) if len(whole) >= count else ()
        for room in pool.held.values():
            if room.free >= option.slots and room.fits(self.now_s, option.expected_s, option.slots):
                return (room.id,)
        for rooms in pool.open[option.slots :]:
            if rooms:
                return (next(iter(rooms)),)
        return ()

    def start(self, machines: tuple[str, ...], option: Option) -> None:
        """Take room for a job that starts now."""
        end_s = self.now_s + option.expected_s
        for room, slots in self._parts(machines, option):
            before = room.free
            room.free -= slots
            bisect.insort(room.releases, (end_s, slots))
            self._pool_of[room.id].sort_in(room, before)

    def earliest(self, option: Option) -> Promise | None:
        """Return the first start that delays no promise, or None if nobody can say."""
        pool = self._pools.get(option.pool)
        if pool is None or (option.pool, option.slots) in self._never:
            return None
        if option.slots > pool.largest:
            best = self._earliest_whole(pool, option)
        else:
            best = self._earliest_single(pool, option)
        if best is None:
            self._never.add((option.pool, option.slots))
        return best

    def _earliest_single(self, pool: _Pool, option: Option) -> Promise | None:
        best: Promise | None = None
        for room in pool.rooms:
            start_s = room.earliest(self.now_s, option.expected_s, option.slots)
            if start_s is not None and (best is None or start_s < best.start_s):
                best = Promise(start_s, (room.id,))
                if start_s <= self.now_s:
                    break
        return best

    def _earliest_whole(self, pool: _Pool, option: Option) -> Promise | None:
        """Return when enough machines are wholly free, after everything that was promised there."""
        if not pool.largest:
            return None
        count = machine_count(option.slots, pool.largest)
        ready = []
        for room in pool.rooms:
            busy = room.slots - room.free - sum(slots for _, slots in room.releases)
            if room.slots == pool.largest and busy == 0:
                ends = [end_s for end_s, _ in room.releases]
                ends += [hold[1] for hold in room.holds.values()]
                ready.append((max([self.now_s, *ends]), room.id))
        ready.sort()
        if len(ready) < count:
            return None
        return Promise(ready[count - 1][0], tuple(room_id for _, room_id in ready[:count]))

    def hold(self, job: str, option: Option, promise: Promise) -> bool:
        """Keep room for a promise; return whether it was there."""
        if any(machine not in self._rooms for machine in promise.machines):
            return False
        parts = list(self._parts(promise.machines, option))
        start_s = max(promise.start_s, self.now_s)
        if not all(room.fits(start_s, option.expected_s, slots) for room, slots in parts):
            return False
        for room, slots in parts:
            room.holds[job] = (start_s, start_s + option.expected_s, slots)
            self._pool_of[room.id].sort_in(room, room.free)
        return True

    def let_go(self, job: str, machines: tuple[str, ...]) -> None:
        """Give back what was kept for a promise, to look for something sooner."""
        for machine in machines:
            room = self._rooms[machine]
            if room.holds.pop(job, None) is not None:
                self._pool_of[machine].sort_in(room, room.free)
        self._closed.clear()
        self._never.clear()

    def slot_times(self) -> dict[str, list[float]]:
        """Return for each pool when each of its slots becomes free, promises aside."""
        times: dict[str, list[float]] = {}
        for name, pool in self._pools.items():
            row: list[float] = []
            for room in pool.rooms:
                row.extend([self.now_s] * room.free)
                for end_s, slots in room.releases:
                    row.extend([end_s] * slots)
            times[name] = row
        return times

    def _parts(self, machines: tuple[str, ...], option: Option) -> Iterator[tuple[_Room, int]]:
        """Yield each machine with the slots that the job takes of it."""
        for machine in machines:
            room = self._rooms[machine]
            yield room, option.slots if len(machines) == 1 else room.slots


def machine_count(slots: int, largest: int) -> int:
    """Return how many whole machines a gang needs that no single one can hold."""
    return -(-slots // largest)


def likely_end_s(job: Running, now_s: float) -> float:
    """Return when a run ends: as estimated, or later when it is over that already."""
    if job.end_s > now_s:
        return job.end_s
    return now_s + max(LATE_MIN_S, LATE_SHARE * (now_s - job.start_s))
