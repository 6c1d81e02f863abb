"""The scheduler's schema and its jobs; each change and its event commit together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from attune.events.v1 import events_pb2
from attune.scheduler.v1 import scheduler_pb2
from google.protobuf.message import Message
from sqlalchemy import Row, and_, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.database import Database, aware, guarded
from services.common.errors import Conflict, NotFound
from services.common.idempotency import Requests
from services.common.outbox import Inbox, Outbox
from services.scheduler import wire
from services.scheduler.announcement import events_of
from services.scheduler.job import Job
from services.scheduler.observation_store import observe
from services.scheduler.observed import Observation
from services.scheduler.queue.entry import Priority
from services.scheduler.row_store import INBOX, JOBS, NODES, OUTBOX, REQUESTS, job_of, row_of
from services.scheduler.state import LEASED, State
from services.scheduler.usage_store import charge
from services.scheduler.waiting import Queued

MIGRATIONS = Path(__file__).with_name("migrations")
SOURCE = "/attune/scheduler"
CONSUMER = "scheduler-jobs"
TRIES_MAX = 10
"""How often a change is tried when somebody else is first each time."""

DATA: dict[str, Callable[..., Message]] = {
    "job.queued": events_pb2.JobQueued,
    "job.started": events_pb2.JobStarted,
    "job.phase_changed": events_pb2.JobPhaseChanged,
    "job.succeeded": events_pb2.JobSucceeded,
    "job.failed": events_pb2.JobFailed,
    "job.cancelled": events_pb2.JobCancelled,
    "job.paused": events_pb2.JobPaused,
}

Answer = TypeVar("Answer")


class JobStore:
    """Jobs, and the events, requests and deliveries that belong to their changes."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database
        self._outbox = Outbox(OUTBOX, SOURCE)
        self._inbox = Inbox(INBOX, CONSUMER)
        self._requests = Requests(REQUESTS)

    async def get(self, name: str) -> Job:
        """Return a job.

        Raises:
            NotFound: If there is none of that name.
        """
        async with self._database.read() as connection:
            return await _get(connection, name)

    async def list_page(
        self,
        project: str,
        *,
        limit: int,
        before_id: str = "",
        state: State | None = None,
        spec: str = "",
    ) -> list[Job]:
        """Return jobs, newest first.

        Args:
            project: Its id, or `-` for all.
            limit: At most so many.
            before_id: Only jobs older than the one with this id.
            state: Only jobs in this state.
            spec: Only jobs of this spec.
        """
        query = select(JOBS).order_by(JOBS.c.id.desc()).limit(limit)
        if project != "-":
            query = query.where(JOBS.c.project == project)
        if before_id:
            query = query.where(JOBS.c.id < before_id)
        if state is not None:
            query = query.where(JOBS.c.state == state)
        if spec:
            query = query.where(JOBS.c.spec == spec)
        return await self._read(query)

    async def list_queued(self, limit: int) -> list[Queued]:
        """Return what the queue must know of queued jobs, the oldest ones first.

        Args:
            limit: At most so many.
        """
        query = (
            select(*(JOBS.c[name] for name in Queued.__dataclass_fields__))
            .where(JOBS.c.state == State.QUEUED)
            .order_by(JOBS.c.queue_time, JOBS.c.id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [_queued_of(row) for row in await connection.execute(query)]

    async def list_named(self, job_names: Sequence[str]) -> list[Job]:
        """Return the jobs of some names, those that exist."""
        return await self._read(select(JOBS).where(JOBS.c.name.in_(job_names)))

    async def list_leased(self, *, node: str = "", expired_at: datetime | None = None) -> list[Job]:
        """Return jobs that hold a lease, of one node or over their time when that is named."""
        query = select(JOBS).where(JOBS.c.state.in_(LEASED))
        if node:
            query = query.where(JOBS.c.node == node)
        if expired_at is not None:
            query = query.where(JOBS.c.lease_expire_time <= expired_at)
        return await self._read(query)

    async def has(self, spec: str, revision: int) -> bool:
        """Return whether a spec's revision has a job."""
        async with self._database.read() as connection:
            return await _has(connection, spec, revision)

    async def add(self, job: Job, event_id: str | None) -> bool:
        """Keep a new job, once for each revision of a spec.

        Args:
            job: Queued.
            event_id: CloudEvents id of the event it is made from; None without one.

        Returns:
            Whether it was kept; False if the event was taken in or the revision has a job.
        """

        async def add(connection: AsyncConnection) -> bool:
            if event_id is not None and not await self._inbox.is_new(
                connection, event_id, job.create_time
            ):
                return False
            if await _has(connection, job.spec, job.spec_revision):
                return False
            await connection.execute(insert(JOBS).values(row_of(job)))
            await self._tell(connection, None, job)
            return True

        return await self._write(add)

    async def change(
        self, name: str, decide: Callable[[Job], Job], observation: Observation | None = None
    ) -> Job:
        """Replace a job by what `decide` makes of it, in one transaction with its event.

        Args:
            name: Of the job.
            decide: Returns the job unchanged to leave it; may raise; may be called again when
                somebody else was first.
            observation: What its run has shown; kept if the job changes.

        Raises:
            NotFound: If there is none of that name.
            Conflict: If others were first ten times.
        """

        async def change(connection: AsyncConnection) -> Job:
            before = await _get(connection, name)
            after = await self._change(connection, name, decide)
            if observation is not None and after.version != before.version:
                await observe(connection, observation, after.run, after.update_time)
            return after

        return await self._write(change)

    async def lease(self, job: Job, instance: str, decide: Callable[[Job], Job]) -> Job | None:
        """Give a queued job to a node's worker, if both are still as they were.

        Args:
            job: As it was read.
            instance: The worker that asks.
            decide: Returns the leased job.

        Returns:
            The leased job; None if somebody else was first or the worker is no longer the newest
            one of its node.
        """
        leased = decide(job)

        async def lease(connection: AsyncConnection) -> Job | None:
            query = select(NODES.c.instance).where(NODES.c.id == leased.node)
            if (await connection.execute(query)).scalar_one_or_none() != instance:
                return None
            return await self._replace(connection, job, leased)

        try:
            async with self._database.write() as connection:
                return await lease(connection)
        except Conflict:
            return None

    async def promise(self, promises: Mapping[str, tuple[datetime | None, str]]) -> None:
        """Write the starts that queued jobs were promised.

        Args:
            promises: By name: the start and the node; None and an empty string for no more.
        """
        async with self._database.write() as connection:
            for name, (start_time, node) in promises.items():
                values = {"promised_start_time": start_time, "promised_node": node}
                # Who has meanwhile been started or cancelled needs none.
                change = update(JOBS).where(JOBS.c.name == name, JOBS.c.state == State.QUEUED)
                await connection.execute(change.values(**values, version=JOBS.c.version + 1))

    async def change_once(
        self,
        request: Any,
        decide: Callable[[Job], Job],
        answer_of: Callable[[Job], scheduler_pb2.Job],
        now: datetime,
    ) -> scheduler_pb2.Job:
        """Change a job on request; a repeated request gets the first answer.

        Args:
            request: Names the job; has a request_id.
            decide: As in `change`.
            answer_of: Makes the answer.
            now: The present moment.

        Raises:
            NotFound: If there is none of that name.
            InvalidArgument: If request_id is not a UUID, or was used for another request.
        """

        async def change(connection: AsyncConnection) -> scheduler_pb2.Job:
            first = await self._requests.find(connection, request, scheduler_pb2.Job)
            if first is not None:
                return first
            answer = answer_of(await self._change(connection, request.name, decide))
            await self._requests.keep(connection, request, answer, now)
            return answer

        return await self._write(change)

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[Answer]]) -> Answer:
        """Do work in a write transaction, and again when another process was first."""
        for left in reversed(range(TRIES_MAX)):
            try:
                async with self._database.write() as connection:
                    return await work(connection)
            except (Conflict, IntegrityError):
                # A unique key that appeared meanwhile is found by the next try.
                if left == 0:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _change(
        self, connection: AsyncConnection, name: str, decide: Callable[[Job], Job]
    ) -> Job:
        before = await _get(connection, name)
        after = decide(before)
        return before if after is before else await self._replace(connection, before, after)

    async def _replace(self, connection: AsyncConnection, before: Job, after: Job) -> Job:
        """Write a changed job where it is still as it was read: same version, same fence."""
        row = {**row_of(after), "version": before.version + 1}
        guard = and_(
            JOBS.c.name == before.name,
            JOBS.c.version == before.version,
            JOBS.c.state == before.state,
            JOBS.c.attempt_count == before.attempt_count,
        )
        await guarded(connection, update(JOBS).where(guard).values(row), before.name)
        if before.state in LEASED and after.state not in LEASED:
            await charge(connection, before, after)
        await self._tell(connection, before, after)
        return await _get(connection, before.name)

    async def _tell(self, connection: AsyncConnection, before: Job | None, after: Job) -> None:
        for event in events_of(before, after):
            data = DATA[event](job=wire.job_to_proto(after))
            await self._outbox.add(connection, event, after.name, data, after.update_time)

    async def _read(self, query: Any) -> list[Job]:
        async with self._database.read() as connection:
            return [job_of(row) for row in await connection.execute(query)]


async def _get(connection: AsyncConnection, name: str) -> Job:
    row = (await connection.execute(select(JOBS).where(JOBS.c.name == name))).one_or_none()
    if row is None:
        raise NotFound(
            f"There is no {name}. List the jobs to see those that exist.",
            reason="JOB_NOT_FOUND",
            job=name,
        )
    return job_of(row)


async def _has(connection: AsyncConnection, spec: str, revision: int) -> bool:
    query = select(JOBS.c.name).where(JOBS.c.spec == spec, JOBS.c.spec_revision == revision)
    return (await connection.execute(query)).first() is not None


def _queued_of(row: Row[Any]) -> Queued:
    promised = row.promised_start_time
    return Queued(
        name=row.name,
        project=row.project,
        priority=Priority(row.priority),
        queue_time=aware(row.queue_time),
        promised_start_time=None if promised is None else aware(promised),
        promised_node=row.promised_node,
        attempt_count=row.attempt_count,
    )
