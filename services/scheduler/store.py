"""The scheduler's schema and its jobs; each change and its event commit together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from attune.events.v1 import events_pb2
from attune.scheduler.v1 import scheduler_pb2
from attune.spec.v1.spec_pb2 import Spec
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.database import Database, aware, guarded, new_metadata
from services.common.errors import Conflict, NotFound
from services.common.idempotency import Requests, requests_table
from services.common.names import last_part, project_of
from services.common.outbox import Inbox, Outbox, inbox_table, outbox_table
from services.scheduler import wire
from services.scheduler.job import LEASED, Job, State, events_of

MIGRATIONS = Path(__file__).with_name("migrations")
SOURCE = "/attune/scheduler"
CONSUMER = "scheduler-jobs"
TRIES_MAX = 10
"""How often a change is tried when somebody else is first each time."""

METADATA = new_metadata()
JOBS = Table(
    "jobs",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("id", String(64), nullable=False, index=True),
    Column("project", String(64), nullable=False),
    Column("spec", String(200), nullable=False),
    Column("spec_revision", BigInteger, nullable=False),
    Column("spec_hash", String(64), nullable=False),
    Column("base_model", String(200), nullable=False),
    Column("approved_spec", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("stage_index", Integer, nullable=False),
    Column("attempt_count", BigInteger, nullable=False),
    Column("loss_count", Integer, nullable=False),
    Column("finished_fence", BigInteger, nullable=False),
    Column("node", String(64), nullable=False),
    Column("instance", String(64), nullable=False),
    Column("lease_expire_time", DateTime(timezone=True), nullable=True),
    Column("progress", LargeBinary, nullable=True),
    Column("result", LargeBinary, nullable=True),
    Column("error", LargeBinary, nullable=True),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("start_time", DateTime(timezone=True), nullable=True),
    Column("end_time", DateTime(timezone=True), nullable=True),
    Column("update_time", DateTime(timezone=True), nullable=False),
    Column("version", BigInteger, nullable=False),
    UniqueConstraint("spec", "spec_revision"),
    Index("ix_jobs_state", "state", "create_time"),
)
NODES = Table(
    "nodes",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("instance", String(64), nullable=False),
    Column("node", LargeBinary, nullable=False),
    Column("heartbeat_time", DateTime(timezone=True), nullable=False, index=True),
)
OUTBOX = outbox_table(METADATA)
INBOX = inbox_table(METADATA)
REQUESTS = requests_table(METADATA)

MESSAGES: dict[str, type[Message]] = {
    "approved_spec": Spec,
    "progress": scheduler_pb2.JobProgress,
    "result": scheduler_pb2.JobResult,
    "error": Status,
}
"""Columns that hold serialised messages."""
DATA: dict[str, Callable[..., Message]] = {
    "job.queued": events_pb2.JobQueued,
    "job.started": events_pb2.JobStarted,
    "job.phase_changed": events_pb2.JobPhaseChanged,
    "job.succeeded": events_pb2.JobSucceeded,
    "job.failed": events_pb2.JobFailed,
    "job.cancelled": events_pb2.JobCancelled,
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

    async def list_queued(
        self, base_models: Sequence[str], limit: int, after: Job | None = None
    ) -> list[Job]:
        """Return queued jobs of some base models, oldest first.

        Args:
            base_models: Their ids.
            limit: At most so many.
            after: Only jobs that come after this one.
        """
        query = (
            select(JOBS)
            .where(JOBS.c.state == State.QUEUED, JOBS.c.base_model.in_(base_models))
            .order_by(JOBS.c.create_time, JOBS.c.id)
            .limit(limit)
        )
        if after is not None:
            later = JOBS.c.create_time > after.create_time
            same = JOBS.c.create_time == after.create_time
            query = query.where(or_(later, and_(same, JOBS.c.id > last_part(after.name))))
        return await self._read(query)

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
            await connection.execute(insert(JOBS).values(_row_of(job)))
            await self._tell(connection, None, job)
            return True

        return await self._write(add)

    async def change(self, name: str, decide: Callable[[Job], Job]) -> Job:
        """Replace a job by what `decide` makes of it, in one transaction with its event.

        Args:
            name: Of the job.
            decide: Returns the job unchanged to leave it; may raise; may be called again when
                somebody else was first.

        Raises:
            NotFound: If there is none of that name.
            Conflict: If others were first ten times.
        """

        async def change(connection: AsyncConnection) -> Job:
            return await self._change(connection, name, decide)

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

    async def cancel(
        self,
        request: scheduler_pb2.CancelJobRequest,
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

        async def cancel(connection: AsyncConnection) -> scheduler_pb2.Job:
            first = await self._requests.find(connection, request, scheduler_pb2.Job)
            if first is not None:
                return first
            answer = answer_of(await self._change(connection, request.name, decide))
            await self._requests.keep(connection, request, answer, now)
            return answer

        return await self._write(cancel)

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
        row = {**_row_of(after), "version": before.version + 1}
        guard = and_(
            JOBS.c.name == before.name,
            JOBS.c.version == before.version,
            JOBS.c.state == before.state,
            JOBS.c.attempt_count == before.attempt_count,
        )
        await guarded(connection, update(JOBS).where(guard).values(row), before.name)
        await self._tell(connection, before, after)
        return await _get(connection, before.name)

    async def _tell(self, connection: AsyncConnection, before: Job | None, after: Job) -> None:
        for event in events_of(before, after):
            data = DATA[event](job=wire.job_to_proto(after))
            await self._outbox.add(connection, event, after.name, data, after.update_time)

    async def _read(self, query: Any) -> list[Job]:
        async with self._database.read() as connection:
            return [_job_of(row) for row in await connection.execute(query)]


async def _get(connection: AsyncConnection, name: str) -> Job:
    row = (await connection.execute(select(JOBS).where(JOBS.c.name == name))).one_or_none()
    if row is None:
        raise NotFound(
            f"There is no {name}. List the jobs to see those that exist.",
            reason="JOB_NOT_FOUND",
            job=name,
        )
    return _job_of(row)


async def _has(connection: AsyncConnection, spec: str, revision: int) -> bool:
    query = select(JOBS.c.name).where(JOBS.c.spec == spec, JOBS.c.spec_revision == revision)
    return (await connection.execute(query)).first() is not None


def _row_of(job: Job) -> dict[str, Any]:
    row = {field.name: getattr(job, field.name) for field in fields(job)}
    for name in MESSAGES:
        row[name] = None if row[name] is None else row[name].SerializeToString()
    row["id"], row["project"] = last_part(job.name), project_of(job.name)
    row["base_model"] = job.approved_spec.base_model.id
    return row


def _job_of(row: Row[Any]) -> Job:
    values = {field.name: getattr(row, field.name) for field in fields(Job)}
    for name, value in values.items():
        if name in MESSAGES and value is not None:
            values[name] = MESSAGES[name].FromString(value)
        elif isinstance(value, datetime):
            values[name] = aware(value)
    values["state"] = State(values["state"])
    return Job(**values)
