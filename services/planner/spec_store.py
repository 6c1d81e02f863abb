"""Specs: every revision as it was made, and which one counts."""

from __future__ import annotations

from datetime import datetime

from attune.events.v1 import events_pb2
from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.database import guarded
from services.common.errors import Conflict, NotFound
from services.common.names import last_part, project_of
from services.planner.store import CONVERSATIONS, DATASETS, SPEC_REVISIONS, SPECS, Store


class SpecStore:
    """Keeps specs."""

    def __init__(self, store: Store) -> None:
        """Share the database."""
        self._store = store

    async def get(self, name: str, revision: int = 0) -> spec_pb2.Spec:
        """Return a revision of a spec, or the newest for 0.

        Raises:
            NotFound: If there is no such spec or revision.
        """
        query = select(SPEC_REVISIONS.c.spec).where(SPEC_REVISIONS.c.name == name)
        if revision:
            query = query.where(SPEC_REVISIONS.c.revision == revision)
        query = query.order_by(SPEC_REVISIONS.c.revision.desc()).limit(1)
        async with self._store.database.read() as connection:
            body = (await connection.execute(query)).scalar_one_or_none()
        if body is None:
            what = f"revision {revision} of {name}" if revision else name
            raise NotFound(
                f"There is no {what}. List the plans, or the revisions of one, to see what exists.",
                reason="SPEC_NOT_FOUND",
                spec=name,
                revision=str(revision),
            )
        return spec_pb2.Spec.FromString(body)

    async def brief(self, name: str, revision: int) -> str:
        """Return what was known when a revision was made, as JSON; empty when nobody noted it."""
        query = select(SPEC_REVISIONS.c.brief).where(
            SPEC_REVISIONS.c.name == name, SPEC_REVISIONS.c.revision == revision
        )
        async with self._store.database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none() or ""

    async def list_revisions(self, name: str, below: int, limit: int) -> list[spec_pb2.Spec]:
        """Return the revisions of a spec, newest first; empty when there is no such spec.

        Args:
            name: Of the spec.
            below: Only revisions before this one; 0 for all.
            limit: Most entries.
        """
        query = select(SPEC_REVISIONS.c.spec).where(SPEC_REVISIONS.c.name == name)
        if below:
            query = query.where(SPEC_REVISIONS.c.revision < below)
        query = query.order_by(SPEC_REVISIONS.c.revision.desc()).limit(limit)
        async with self._store.database.read() as connection:
            bodies = (await connection.execute(query)).scalars().all()
        return [spec_pb2.Spec.FromString(body) for body in bodies]

    async def find_by_hash(self, name: str, spec_hash: str) -> spec_pb2.Spec | None:
        """Return the newest revision of a spec that has this hash, if any."""
        query = (
            select(SPEC_REVISIONS.c.spec)
            .where(SPEC_REVISIONS.c.name == name, SPEC_REVISIONS.c.hash == spec_hash)
            .order_by(SPEC_REVISIONS.c.revision.desc())
            .limit(1)
        )
        async with self._store.database.read() as connection:
            body = (await connection.execute(query)).scalar_one_or_none()
        return None if body is None else spec_pb2.Spec.FromString(body)

    async def list_newest(
        self, project: str, state: int, after: str, limit: int
    ) -> list[spec_pb2.Spec]:
        """Return the newest revisions of specs, newest spec first.

        Args:
            project: Id, or `-` for all.
            state: Value of Spec.State; 0 for all.
            after: Id of the spec before the first; empty to start.
            limit: Most entries.
        """
        newest = (SPEC_REVISIONS.c.name == SPECS.c.name) & (
            SPEC_REVISIONS.c.revision == SPECS.c.revision
        )
        query = select(SPEC_REVISIONS.c.spec).join(SPECS, newest)
        if project != "-":
            query = query.where(SPECS.c.project == project)
        if state:
            query = query.where(SPECS.c.state == state)
        if after:
            query = query.where(SPECS.c.spec_id < after)
        query = query.order_by(SPECS.c.spec_id.desc()).limit(limit)
        async with self._store.database.read() as connection:
            bodies = (await connection.execute(query)).scalars().all()
        return [spec_pb2.Spec.FromString(body) for body in bodies]

    async def create(
        self,
        request: planner_pb2.ProposeSpecRequest,
        spec: spec_pb2.Spec,
        brief: str,
        now: datetime,
    ) -> spec_pb2.Spec:
        """Add the first revision of a spec, or return the one that the same request made before.

        Args:
            request: Whose answer the spec is.
            spec: Complete.
            brief: What was known, as JSON.
            now: The present moment.
        """

        async def work(connection: AsyncConnection) -> spec_pb2.Spec:
            await write_revision(connection, spec, None, brief, now)
            return spec

        return await self._store.answer_once(request, spec_pb2.Spec, work, now)

    async def revise(
        self,
        request: planner_pb2.UpdateSpecRequest | planner_pb2.RestoreSpecRequest,
        before: spec_pb2.Spec,
        after: spec_pb2.Spec,
        brief: str,
        now: datetime,
    ) -> spec_pb2.Spec:
        """Add a revision, or return the one that the same request made before.

        Args:
            request: Whose answer the revision is.
            before: The newest revision as it was read.
            after: The new one.
            brief: What is known now, as JSON. A conversation that led to the spec goes on from it
                after a restoration; an edit leaves what was said in the conversation as it is.
            now: The present moment.

        Raises:
            Conflict: If the spec or its conversation changed in between.
        """

        async def work(connection: AsyncConnection) -> spec_pb2.Spec:
            await write_revision(connection, after, before, brief, now)
            if isinstance(request, planner_pb2.RestoreSpecRequest) and brief:
                change = (
                    update(CONVERSATIONS)
                    .where(CONVERSATIONS.c.name == after.conversation)
                    .where(CONVERSATIONS.c.spec == after.name)
                    .values(brief=brief, version=CONVERSATIONS.c.version + 1, update_time=now)
                )
                await connection.execute(change)
            return after

        return await self._store.answer_once(request, spec_pb2.Spec, work, now)

    async def approve(
        self,
        request: planner_pb2.ApproveSpecRequest,
        before: spec_pb2.Spec,
        approved: spec_pb2.Spec,
        now: datetime,
    ) -> spec_pb2.Spec:
        """Keep an approval and, in the same transaction, the event that tells of it.

        Args:
            request: Whose answer the approved spec is.
            before: The revision as it was read; when approved already, nothing is written.
            approved: The same revision with its approval.
            now: The present moment.

        Raises:
            Conflict: If the spec changed, or its data were deleted, in between.
        """

        async def work(connection: AsyncConnection) -> spec_pb2.Spec:
            if before.state == spec_pb2.Spec.STATE_APPROVED:
                return before
            await _check_data(connection, approved)
            await _move(connection, before, approved)
            change = (
                update(SPEC_REVISIONS)
                .where(SPEC_REVISIONS.c.name == approved.name)
                .where(SPEC_REVISIONS.c.revision == approved.revision)
                .where(SPEC_REVISIONS.c.hash == approved.hash)
                .values(spec=approved.SerializeToString())
            )
            await guarded(connection, change, approved.name)
            event = events_pb2.SpecApproved(spec=approved)
            await self._store.outbox.add(connection, "spec.approved", approved.name, event, now)
            return approved

        return await self._store.answer_once(request, spec_pb2.Spec, work, now)


async def write_revision(
    connection: AsyncConnection,
    spec: spec_pb2.Spec,
    before: spec_pb2.Spec | None,
    brief: str,
    now: datetime,
) -> None:
    """Add a revision of a spec.

    Args:
        connection: Of a write transaction.
        spec: The new revision, complete.
        before: The revision that it replaces; None for the first.
        brief: What is known, as JSON.
        now: The present moment.

    Raises:
        Conflict: If the spec changed since `before` was read.
    """
    if before is None:
        values = {
            "name": spec.name,
            "spec_id": last_part(spec.name),
            "project": project_of(spec.name),
            "revision": spec.revision,
            "etag": spec.etag,
            "state": spec.state,
        }
        await connection.execute(insert(SPECS).values(values))
    else:
        await _move(connection, before, spec)
    row = {
        "name": spec.name,
        "revision": spec.revision,
        "hash": spec.hash,
        "spec": spec.SerializeToString(),
        "create_time": now,
        "brief": brief,
    }
    await connection.execute(insert(SPEC_REVISIONS).values(row))


async def _check_data(connection: AsyncConnection, spec: spec_pb2.Spec) -> None:
    """Refuse a plan whose data are gone; a deletion in its turn looks for approved plans."""
    names = {name for name in (spec.data.dataset, spec.data.holdout_dataset) if name}
    query = select(DATASETS.c.name).where(DATASETS.c.name.in_(names))
    gone = names - set((await connection.execute(query)).scalars())
    if gone:
        raise Conflict(
            f"{min(gone)} was deleted in between. Attach another dataset to {spec.name}.",
            reason="CHANGED_CONCURRENTLY",
            resource=min(gone),
        )


async def _move(connection: AsyncConnection, before: spec_pb2.Spec, after: spec_pb2.Spec) -> None:
    change = (
        update(SPECS)
        .where(SPECS.c.name == before.name, SPECS.c.etag == before.etag)
        .values(revision=after.revision, etag=after.etag, state=after.state)
    )
    await guarded(connection, change, before.name)
