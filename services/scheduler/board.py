"""The queue as it stands: facts of the database, seen through one pass of the pure queue."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

from attune.scheduler.v1.worker_pb2 import Node
from attune.spec.v1.spec_pb2 import Spec

from services.common.clock import Clock
from services.common.names import project_of
from services.scheduler.account import Shares
from services.scheduler.changes import Changes
from services.scheduler.job import Job
from services.scheduler.layout import Placement
from services.scheduler.lessons import EMPTY, Book
from services.scheduler.node import live_since
from services.scheduler.node_store import NodeStore
from services.scheduler.observation_store import ObservationStore
from services.scheduler.profile import Catalogue
from services.scheduler.queue.entry import (
    Account,
    Machine,
    Option,
    Promise,
    Running,
    Snapshot,
    Waiting,
)
from services.scheduler.queue.schedule import Schedule, Start, make_schedule
from services.scheduler.queue.wait import Outlook
from services.scheduler.state import State
from services.scheduler.store import JobStore
from services.scheduler.usage_store import UsageStore
from services.scheduler.waiting import Queued, place_job

QUEUED_MAX = 20_000
"""Queued jobs, the oldest ones, that a pass looks at."""
PLACED_MAX = 100
"""Jobs that one pass finds places for; what is found is kept, so the next pass goes on."""
KNOWN_MAX = 50_000
"""Places of job shapes in pools that are kept."""
FRESH_S = 1.0
"""A view is so old at most, even when nothing was committed by this process."""
ASKING_S = 25.0
"""A node with a free slot that was not heard of for so long does not ask any more: the longest
wait of LeaseRun, and some more."""
LARGE = 1_000
"""From so many queued jobs on, a node counting as ten, a view may be used again for a while
although something changed."""
REST = 4.0
"""That while, in times of what the view took to make: passes then take a fifth of a core."""

Place = dict[str, Placement | None]
"""Where a job would run in each pool; None where it cannot."""


@dataclass(frozen=True)
class View:
    """The queue at one moment."""

    snapshot: Snapshot
    schedule: Schedule
    places: dict[str, Place]
    kinds: Sequence[Node]
    """A live node of each pool, one with a free slot where there is one."""
    unplaced: int
    """Queued jobs that were not looked at yet; the next views know more of them."""
    book: Book
    """What runs have taken of memory."""

    def outlook(self, job: str) -> Outlook | None:
        """Return what a queued job may expect; None if it was not looked at yet."""
        return self.schedule.outlooks.get(job)

    def account(self, job: str) -> Account:
        """Return the account of a job's project."""
        return self.snapshot.account(project_of(job))

    def start_on(self, node: str) -> Start | None:
        """Return the first job that starts on a node now, or None."""
        return next((one for one in self.schedule.starts if node in one.machines), None)


class Board:
    """Makes views, and keeps what is costly to find: where jobs could run."""

    def __init__(
        self,
        jobs: JobStore,
        nodes: NodeStore,
        usage: UsageStore,
        observations: ObservationStore,
        changes: Changes,
        catalogue: Catalogue,
        shares: Shares,
        clock: Clock,
    ) -> None:
        """Keep what it works with."""
        self._jobs = jobs
        self._nodes = nodes
        self._usage = usage
        self._observations = observations
        self._changes = changes
        self._catalogue = catalogue
        self._shares = shares
        self._clock = clock
        self._places: dict[str, Place] = {}
        self._attempts: dict[str, int] = {}
        self._book = EMPTY
        self._known: dict[tuple[str, str], Placement | None] = {}
        self._asking: Counter[str] = Counter()
        self._lock = asyncio.Lock()
        self._view: View | None = None
        self._count = -1
        self._complete = False
        self._made_s = self._took_s = 0.0

    @contextmanager
    def asking(self, node: Node) -> Iterator[None]:
        """Prefer a node to others of its kind while the block runs: it waits for a job now."""
        self._asking[node.id] += 1
        try:
            yield
        finally:
            self._asking[node.id] -= 1

    async def look(self, *, fresh: bool = False) -> View:
        """Return the queue as it is now.

        Args:
            fresh: Whether it must be newer than whatever was seen before.
        """
        async with self._lock:
            if fresh or not self._is_current():
                began_s, count = time.monotonic(), self._changes.count
                self._view = await self._make()
                self._count, self._made_s = count, time.monotonic()
                self._took_s = self._made_s - began_s
            assert self._view is not None
            return self._view

    async def book(self) -> Book:
        """Return what runs have taken of memory, as it is known now."""
        return await self._observations.read()

    def forget(self, job: str) -> None:
        """Find the places of a job anew: it cannot run where it was to."""
        self._places.pop(job, None)

    def later_s(self, job: Job, view: View) -> float:
        """Return what the stages after the present one of a job will take, in seconds.

        Those that no live node can run count nothing.

        Args:
            job: Any job.
            view: Whose nodes count.
        """
        total_s = 0.0
        for index in range(job.stage_index + 1, len(job.approved_spec.stages)):
            later = replace(job, stage_index=index, failed=())
            shape = shape_of(later)
            found = [self._placed(later, shape, pool_of(node), node) for node in view.kinds]
            total_s += min((one.time.expected_s for one in found if one), default=0.0)
        return total_s

    def _is_current(self) -> bool:
        if self._view is None or not self._complete:
            return False
        size = len(self._view.snapshot.waiting) + 10 * len(self._view.snapshot.machines)
        if size >= LARGE and time.monotonic() - self._made_s < REST * self._took_s:
            return True
        age_s = self._clock.now().timestamp() - self._view.snapshot.now_s
        return self._count == self._changes.count and 0 <= age_s < FRESH_S

    async def _make(self) -> View:
        now = self._clock.now()
        heard = await self._nodes.list_heard(live_since(now), now)
        nodes = sorted((node for node, _ in heard), key=lambda node: node.free_slot_count)
        queued = await self._jobs.list_queued(QUEUED_MAX)
        leased = await self._jobs.list_leased()
        usage = await self._usage.read(now)
        pools = {pool_of(node): node for node in nodes}
        book = await self._observations.read()
        if book is not self._book:
            # Jobs that have their places keep them until they start; then they are looked at again.
            self._book = book
            self._known.clear()
        await self._find_places(queued, pools)
        projects = {job.project for job in queued} | {project_of(job.name) for job in leased}
        snapshot = Snapshot(
            now.timestamp(),
            [
                _waiting(job, places)
                for job in queued
                if (places := self._places.get(job.name)) is not None
            ],
            [_running(job, now) for job in leased],
            machines(heard, leased, self._asking, now),
            {one: self._shares.account(one, usage.get(one)) for one in projects | set(usage)},
        )
        unplaced = len(queued) - len(snapshot.waiting)
        kinds = list(pools.values())
        return View(snapshot, make_schedule(snapshot), self._places, kinds, unplaced, book)

    async def _find_places(self, queued: Sequence[Queued], pools: dict[str, Node]) -> None:
        """Place the oldest jobs that were not placed in these pools; forget jobs that are gone."""
        kept = {
            job.name: self._places.get(job.name)
            if self._attempts.get(job.name, job.attempt_count) == job.attempt_count
            else None
            for job in queued
        }
        self._attempts = {job.name: job.attempt_count for job in queued}
        unknown = [
            name
            for name, place in kept.items()
            if place is None or not pools.keys() <= place.keys()
        ]
        self._complete = len(unknown) <= PLACED_MAX
        self._places = {name: place for name, place in kept.items() if place is not None}
        for job in await self._jobs.list_named(unknown[:PLACED_MAX]):
            shape = shape_of(job)
            self._places[job.name] = {
                pool: self._placed(job, shape, pool, node) for pool, node in pools.items()
            }
            await asyncio.sleep(0)  # Renewals must not wait for a hundred jobs.
        if len(self._known) > KNOWN_MAX:
            self._known.clear()

    def _placed(self, job: Job, shape: str, pool: str, node: Node) -> Placement | None:
        """Return where a job runs in a pool; jobs of one shape are placed once."""
        if (shape, pool) not in self._known:
            self._known[shape, pool] = place_job(job, node, self._catalogue, self._book)
        return self._known[shape, pool]


def shape_of(job: Job) -> str:
    """Return what is equal for jobs that run alike everywhere."""
    spec = job.approved_spec
    part = Spec(base_model=spec.base_model, stages=spec.stages)
    for name in ("train_row_count", "holdout_row_count", "validation_fraction"):
        setattr(part.data, name, getattr(spec.data, name))
    part.evaluation.max_answer_tokens = spec.evaluation.max_answer_tokens
    digest = sha256(part.SerializeToString(deterministic=True))
    digest.update(repr((job.stage_index, job.failed)).encode())
    return digest.hexdigest()


def pool_of(node: Node) -> str:
    """Return what is equal for nodes that offer the same."""
    offer = Node()
    offer.CopyFrom(node)
    offer.id = offer.instance = ""
    offer.free_slot_count = 0
    return sha256(offer.SerializeToString(deterministic=True)).hexdigest()[:16]


def machines(
    heard: Sequence[tuple[Node, datetime]],
    leased: Sequence[Job],
    asking: Counter[str],
    now: datetime,
) -> list[Machine]:
    """Return nodes as the queue sees them.

    Args:
        heard: Live nodes, each with its last heartbeat.
        leased: Jobs that hold a lease.
        asking: Nodes that wait for a job at this process, counted.
        now: The present moment.
    """
    running = Counter(job.node for job in leased)
    # What was given since a node last spoke is not yet taken off what it says is free.
    spoke = {node.id: time for node, time in heard}
    new = Counter(
        job.node
        for job in leased
        if job.lease_time and job.node in spoke and job.lease_time >= spoke[job.node]
    )
    found = []
    for node, spoke_time in heard:
        silent = now - spoke_time > timedelta(seconds=ASKING_S)
        free = 0 if silent else max(node.free_slot_count - new[node.id], 0)
        slots = max(free + running[node.id], node.free_slot_count, 1)
        found.append(Machine(node.id, pool_of(node), slots, free, asking[node.id] > 0))
    return found


def expected_end(job: Job) -> datetime | None:
    """Return when a job that holds a lease is expected to end; None without a lease."""
    if job.lease_time is None:
        return None
    if job.progress is not None and job.progress.HasField("remaining_duration"):
        return job.update_time + job.progress.remaining_duration.ToTimedelta()
    return job.lease_time + timedelta(seconds=job.expected_s)


def _running(job: Job, now: datetime) -> Running:
    end = expected_end(job) or now
    price = job.price_micro_usd_per_hour / 3600
    return Running(
        id=job.name,
        project=project_of(job.name),
        machines=(job.node,),
        slots=1,
        start_s=(job.lease_time or now).timestamp(),
        end_s=end.timestamp(),
        priority=job.priority,
        stopping=job.state is not State.RUNNING,
        yield_count=job.yield_count,
        cost_micro_usd=round(job.held_s(now) * price),
        rest_micro_usd=round(max((end - now).total_seconds(), 0.0) * price),
    )


def _waiting(job: Queued, place: Place) -> Waiting:
    fitting = sorted(
        (placed.cost_micro_usd, placed.time.expected_s, pool)
        for pool, placed in place.items()
        if placed is not None
    )
    promise = None
    if job.promised_start_time is not None:
        promise = Promise(job.promised_start_time.timestamp(), (job.promised_node,))
    return Waiting(
        id=job.name,
        project=job.project,
        submit_s=job.queue_time.timestamp(),
        options=tuple(Option(pool, 1, expected_s, cost) for cost, expected_s, pool in fitting),
        priority=job.priority,
        promise=promise,
    )
