"""Rows of model versions; changes of state commit with their events."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from attune.events.v1 import events_pb2
from attune.serving.v1 import model_pb2
from attune.spec.v1.evaluation_pb2 import EvaluationReport
from google.protobuf.message import Message
from sqlalchemy import ColumnElement, Select, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.clock import Clock, new_id
from services.common.database import Database, aware, guarded
from services.common.errors import NotFound
from services.common.names import last_part, parse
from services.common.outbox import Inbox, Outbox
from services.serving import store, wire
from services.serving.deployments import deployment_row
from services.serving.deployments.deployment import Deployment
from services.serving.registry.parity import ParityReport
from services.serving.registry.version import (
    Form,
    Lineage,
    Version,
    VersionState,
    check_lives,
    deleted,
    made_whole,
    stage,
)

CONSUMER = "serving-versions"
PATTERN = "projects/{project}/models/{model}/versions/{version}"

rows = store.versions


class VersionStore:
    """The registry of model versions."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Keep the database and the clock."""
        self._database = database
        self._clock = clock
        self._outbox = Outbox(store.outbox, store.SOURCE)
        self._inbox = Inbox(store.inbox, CONSUMER)

    async def stage(self, lineage: Lineage, event_id: str | None) -> Version | None:
        """Make the version of a job, unless the job has one.

        Args:
            lineage: From the job.
            event_id: Of the event that told of the job; None when it was found otherwise.

        Returns:
            The new version, or None if nothing was new.
        """
        now = self._clock.now()
        async with self._database.write() as connection:
            if event_id is not None and not await self._inbox.is_new(connection, event_id, now):
                return None
            known = select(rows.c.id).where(rows.c.job == lineage.job.name)
            if (await connection.execute(known)).first() is not None:
                return None
            newest = select(func.max(rows.c.number)).where(
                rows.c.project == lineage.project, rows.c.model == lineage.model
            )
            number = ((await connection.execute(newest)).scalar() or 0) + 1
            version = stage(lineage, number, new_id(now), now)
            await connection.execute(insert(rows).values(_to_row(version)))
            await self._tell(connection, version)
        return version

    async def settle(self, version: Version) -> None:
        """Write the outcome of a proof and its event.

        Raises:
            Conflict: If the version is not STAGED any more.
        """
        row = _to_row(version)
        changes = {key: row[key] for key in ("state", "state_reason", "parity", "update_time")}
        statement = (
            update(rows)
            .where(rows.c.id == version.id, rows.c.state == VersionState.STAGED.value)
            .values(changes)
        )
        async with self._database.write() as connection:
            await guarded(connection, statement, version.name)
            await self._tell(connection, version)

    async def make_whole(self, version: Version, merged_sha256: str) -> Version:
        """Keep that a STAGED version is served as a whole model, and return it so.

        Raises:
            Conflict: If it is not STAGED any more.
        """
        after = made_whole(version, merged_sha256, self._clock.now())
        statement = (
            update(rows)
            .where(rows.c.id == version.id, rows.c.state == VersionState.STAGED.value)
            .values(
                merged_sha256=merged_sha256,
                form=after.form.value,
                state_reason=after.state_reason,
                update_time=after.update_time,
            )
        )
        async with self._database.write() as connection:
            await guarded(connection, statement, version.name)
        return after

    async def note_merged(self, version: Version, merged_sha256: str) -> None:
        """Keep the whole model that an adapter was merged into; it stays an adapter."""
        statement = update(rows).where(rows.c.id == version.id).values(merged_sha256=merged_sha256)
        async with self._database.write() as connection:
            await connection.execute(statement)

    async def delete(self, version: Version, check: Callable[[list[Deployment]], None]) -> Version:
        """Mark a version DELETED, and return it so.

        Args:
            version: As it was read.
            check: Refuses it, given all deployments. They are read after the mark is set: a
                decision locks the rows of its versions, so it is either seen here or refused.

        Raises:
            Conflict: If it was deleted since it was read.
            ServiceError: Whatever `check` raises.
        """
        after = deleted(version, self._clock.now())
        statement = (
            update(rows)
            .where(rows.c.id == version.id, rows.c.state != VersionState.DELETED.value)
            .values(
                state=after.state.value,
                state_reason=after.state_reason,
                update_time=after.update_time,
            )
        )
        async with self._database.write() as connection:
            await guarded(connection, statement, version.name)
            found = (await connection.execute(select(store.deployments))).all()
            check([deployment_row.from_row(row) for row in found])
            # It may have been proved since it was read.
            query = select(rows).where(rows.c.id == version.id)
            after = _from_row((await connection.execute(query)).one())
            await self._tell(connection, after)
        return after

    async def list_made_from(self, merged_sha256: str) -> list[Version]:
        """Return the versions that are not deleted and have a whole model as their base."""
        return await self._list_living(rows.c.base_model_revision == merged_sha256)

    async def list_sharing(self, version: Version) -> list[Version]:
        """Return the other versions that are not deleted and need files of this one."""
        same = [
            column == digest
            for column, digest in (
                (rows.c.adapter_sha256, version.adapter_sha256),
                (rows.c.merged_sha256, version.merged_sha256),
            )
            if digest
        ]
        return await self._list_living(or_(*same), rows.c.id != version.id)

    async def get(self, name: str, *, field: str = "name") -> Version:
        """Return a version.

        Args:
            name: `projects/{project}/models/{model}/versions/{version}`.
            field: Request field that holds the name; for the error.

        Raises:
            InvalidArgument: If the name does not follow its pattern.
            NotFound: If there is none.
        """
        parts = parse(name, PATTERN, field=field)
        query = select(rows).where(
            rows.c.project == parts["project"],
            rows.c.model == parts["model"],
            rows.c.number == int(parts["version"]),
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound(
                f"There is no version {name}. List those that there are.",
                reason="NO_SUCH_VERSION",
                name=name,
            )
        return _from_row(row)

    async def list_page(
        self, project: str, model: str, job: str, after: str, limit: int
    ) -> list[Version]:
        """Return versions, newest first.

        Args:
            project: Id of the project.
            model: Id of the model, or `-` for all.
            job: Only the version of this job; all when empty.
            after: Id after which the page begins; empty for the first page.
            limit: Most versions to return.
        """
        query = select(rows).where(rows.c.project == project).order_by(rows.c.id.desc())
        if model != "-":
            query = query.where(rows.c.model == model)
        if job:
            query = query.where(rows.c.job == job)
        if after:
            query = query.where(rows.c.id < after)
        async with self._database.read() as connection:
            found = (await connection.execute(query.limit(limit))).all()
        return [_from_row(row) for row in found]

    async def list_staged(self) -> list[Version]:
        """Return the versions that wait for their proof, oldest first."""
        query = select(rows).where(rows.c.state == VersionState.STAGED.value).order_by(rows.c.id)
        async with self._database.read() as connection:
            return [_from_row(row) for row in (await connection.execute(query)).all()]

    async def list_named(self, names: Collection[str]) -> list[Version]:
        """Return those versions of a set of names that there are; names that follow the pattern."""
        if not names:
            return []
        async with self._database.read() as connection:
            return [_from_row(row) for row in (await connection.execute(_named(names))).all()]

    async def names_of_adapters(self, adapters: Collection[str]) -> dict[str, list[str]]:
        """Return the names of versions by the hash of their adapter; equal ones share one."""
        found: dict[str, list[str]] = {}
        if not adapters:
            return found
        query = select(rows).where(rows.c.adapter_sha256.in_(adapters))
        async with self._database.read() as connection:
            for row in (await connection.execute(query)).all():
                version = _from_row(row)
                found.setdefault(version.adapter_sha256, []).append(version.name)
        return found

    async def list_known_jobs(self, jobs: list[str]) -> set[str]:
        """Return which of the jobs have a version."""
        query = select(rows.c.job).where(rows.c.job.in_(jobs))
        async with self._database.read() as connection:
            return set((await connection.execute(query)).scalars())

    async def _list_living(self, *conditions: ColumnElement[bool]) -> list[Version]:
        query = select(rows).where(rows.c.state != VersionState.DELETED.value, *conditions)
        async with self._database.read() as connection:
            return [_from_row(row) for row in (await connection.execute(query)).all()]

    async def _tell(self, connection: AsyncConnection, version: Version) -> None:
        message = wire.version_to_proto(version)
        events: dict[VersionState, tuple[str, Message]] = {
            VersionState.STAGED: (
                "model.registered",
                events_pb2.ModelRegistered(model_version=message),
            ),
            VersionState.READY: ("model.ready", events_pb2.ModelReady(model_version=message)),
            VersionState.REJECTED: (
                "model.rejected",
                events_pb2.ModelRejected(model_version=message),
            ),
            VersionState.DELETED: (
                "model.deleted",
                events_pb2.ModelDeleted(model_version=message),
            ),
        }
        event, data = events[version.state]
        await self._outbox.add(connection, event, version.name, data, version.update_time)


async def lock_living(connection: AsyncConnection, names: Collection[str]) -> None:
    """Keep versions from being deleted until a write transaction ends.

    Raises:
        NotFound: If one was deleted already.
    """
    query = _named(names).with_for_update(read=True)  # SQLite has one writer and needs no lock.
    for row in (await connection.execute(query)).all():
        check_lives(_from_row(row))


def _named(names: Collection[str]) -> Select[Any]:
    wanted = [parse(name, PATTERN) for name in names]
    keys = [(one["project"], one["model"], int(one["version"])) for one in wanted]
    return select(rows).where(tuple_(rows.c.project, rows.c.model, rows.c.number).in_(keys))


def _to_row(version: Version) -> dict[str, Any]:
    parts = parse(version.name, PATTERN)
    parity = version.parity
    return {
        "id": version.id,
        "project": parts["project"],
        "model": parts["model"],
        "number": int(last_part(version.name)),
        "state": version.state.value,
        "state_reason": version.state_reason,
        "job": version.job,
        "spec": version.spec,
        "spec_hash": version.spec_hash,
        "base_model": version.base_model,
        "base_model_revision": version.base_model_revision,
        "adapter_sha256": version.adapter_sha256,
        "merged_sha256": version.merged_sha256,
        "form": version.form.value,
        "parity_tolerance": version.parity_tolerance,
        "planned_target": version.planned_target,
        "report": version.report.SerializeToString(),
        "parity": None if parity is None else wire.parity_to_proto(parity).SerializeToString(),
        "create_time": version.create_time,
        "update_time": version.update_time,
    }


def _from_row(row: Any) -> Version:
    return Version(
        id=row.id,
        name=f"projects/{row.project}/models/{row.model}/versions/{row.number}",
        state=VersionState(row.state),
        state_reason=row.state_reason,
        job=row.job,
        spec=row.spec,
        spec_hash=row.spec_hash,
        base_model=row.base_model,
        base_model_revision=row.base_model_revision,
        adapter_sha256=row.adapter_sha256,
        merged_sha256=row.merged_sha256,
        form=Form(row.form),
        parity_tolerance=row.parity_tolerance,
        planned_target=row.planned_target,
        report=EvaluationReport.FromString(row.report),
        parity=_parity(row.parity),
        create_time=aware(row.create_time),
        update_time=aware(row.update_time),
    )


def _parity(data: bytes | None) -> ParityReport | None:
    if data is None:
        return None
    return wire.parity_from_proto(model_pb2.ParityReport.FromString(data))
