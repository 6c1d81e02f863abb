"""Rows of deployments and of what was decided about them; every change commits with its event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from attune.events.v1 import events_pb2
from attune.serving.v1 import deployment_pb2 as pb
from google.protobuf.message import Message
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.clock import Clock, new_id
from services.common.database import Database, guarded
from services.common.errors import AlreadyExists, Conflict, NotFound
from services.common.idempotency import Requests
from services.common.names import parse
from services.common.outbox import Outbox
from services.common.waiting import until_set
from services.serving import store, wire
from services.serving.deployments import deployment as domain
from services.serving.deployments.deployment import (
    Arms,
    Change,
    ChangeKind,
    Decision,
    Deployment,
    DeploymentState,
)
from services.serving.deployments.deployment_row import (
    PATTERN,
    arms_to_row,
    change_from_row,
    from_row,
    to_row,
)
from services.serving.registry.version_store import lock_living

rows = store.deployments
changes = store.deployment_changes

Act = Callable[[Deployment], Deployment]
"""Decides something: from a deployment to what it should become."""
Check = Callable[[Deployment, list[Deployment]], None]
"""Refuses a decision: given the deployment after it, and all the others."""


class DecisionRequest(Protocol):
    """A request that decides something; a protobuf message."""

    request_id: str


class DeploymentStore:
    """Which alias points at which version, and how that came."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Keep the database and the clock."""
        self._database = database
        self._clock = clock
        self._outbox = Outbox(store.outbox, store.SOURCE)
        self._requests = Requests(store.requests)
        self._committed = asyncio.Event()
        database.on_commit(self._committed.set)
        self.endpoint = ""
        """Base URL for OpenAI clients; known once the endpoint listens."""

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` when this process has changed something; it must return at once."""
        self._database.on_commit(listener)

    async def wait_for_commit(self, timeout_s: float) -> None:
        """Return when this process has changed something, or after a time."""
        self._committed.clear()
        await until_set(self._committed, timeout_s)

    async def find_answer(self, request: Message) -> pb.Deployment | None:
        """Return the first answer to a request that came before, or None if it is new."""
        async with self._database.read() as connection:
            return await self._requests.find(connection, request, pb.Deployment)

    async def create(
        self, request: Message, deployment: Deployment, decision: Decision, check: Check
    ) -> pb.Deployment:
        """Keep a new deployment, or return the first answer to a repeated request.

        Raises:
            AlreadyExists: If the alias is taken.
            Conflict: If somebody else takes the alias at this very moment.
            ServiceError: Whatever `check` raises.
        """
        try:
            return await self._create(request, deployment, decision, check)
        except IntegrityError:  # PostgreSQL lets two of them come this far.
            raise Conflict(
                f"'{deployment.alias}' is being made by somebody else. Repeat the request.",
                reason="CHANGED_CONCURRENTLY",
                alias=deployment.alias,
            ) from None

    async def decide(
        self,
        request: Message,
        name: str,
        etag: str,
        kind: ChangeKind | Callable[[Deployment], ChangeKind],
        decision: Decision,
        act: Act,
        check: Check,
        *,
        held: bool,
    ) -> pb.Deployment:
        """Keep a decision, or return the first answer to a repeated request.

        Args:
            request: Has a request_id.
            name: Of the deployment.
            etag: The newest one, or empty.
            kind: What is decided; may depend on the deployment before.
            decision: Who decides, and why.
            act: The decision.
            check: Refuses it.
            held: Whether the target holds the outcome already.

        Raises:
            NotFound: If there is no such deployment.
            Conflict: If the etag is not the newest one.
            ServiceError: Whatever `act` and `check` raise.
        """
        parts = parse(name, PATTERN)
        async with self._database.write() as connection:
            if answer := await self._requests.find(connection, request, pb.Deployment):
                return answer
            before = await self._find(connection, parts["project"], parts["alias"])
            if before is None:
                raise _no_such(name)
            domain.check_etag(before, etag)
            now = self._clock.now()
            after = domain.decide(act(before), held=held, etag=new_id(now), now=now)
            await lock_living(connection, after.decided.model_versions)
            check(after, [one for one in await self._all(connection) if one.name != name])
            await self._replace(connection, before, after)
            what = kind if isinstance(kind, ChangeKind) else kind(before)
            await self._note(connection, after, what, decision)
            if after.state is DeploymentState.READY:
                await self._tell_ready(connection, after)
            return await self._answer(connection, request, after)

    async def confirm(self, deployment: Deployment, external_name: str = "") -> None:
        """Mark a deployment READY: its target holds what was decided.

        Raises:
            Conflict: If something else was decided in between.
        """
        named = replace(deployment, external_name=external_name or deployment.external_name)
        after = domain.confirm(named, self._clock.now())
        async with self._database.write() as connection:
            await self._replace(connection, deployment, after)
            await self._tell_ready(connection, after)

    async def tell(self, deployment: Deployment, reason: str) -> None:
        """Say how far the target of a PENDING deployment is, or what else there is to know.

        Raises:
            Conflict: If something else was decided in between.
        """
        if reason != deployment.state_reason:
            after = replace(deployment, state_reason=reason, update_time=self._clock.now())
            async with self._database.write() as connection:
                await self._replace(connection, deployment, after)

    async def fail(self, deployment: Deployment, reason: str) -> None:
        """Mark a deployment FAILED.

        Raises:
            Conflict: If something else was decided in between.
        """
        after = domain.fail(deployment, reason, self._clock.now())
        async with self._database.write() as connection:
            await self._replace(connection, deployment, after)
            event = events_pb2.DeploymentFailed(deployment=self._message(after))
            await self._outbox.add(
                connection, "deployment.failed", after.name, event, after.update_time
            )

    async def remove(self, deployment: Deployment) -> None:
        """Forget a DELETING deployment whose target holds nothing of it any more."""
        parts = parse(deployment.name, PATTERN)
        statement = delete(rows).where(
            rows.c.project == parts["project"],
            rows.c.alias == parts["alias"],
            rows.c.state == DeploymentState.DELETING.value,
        )
        async with self._database.write() as connection:
            await guarded(connection, statement, deployment.name)
            await connection.execute(
                delete(store.arm_figures).where(
                    store.arm_figures.c.project == parts["project"],
                    store.arm_figures.c.alias == parts["alias"],
                )
            )
            event = events_pb2.DeploymentDeleted(deployment=self._message(deployment))
            await self._outbox.add(
                connection, "deployment.deleted", deployment.name, event, self._clock.now()
            )

    async def get(self, name: str, *, field: str = "name") -> Deployment:
        """Return a deployment.

        Raises:
            InvalidArgument: If the name does not follow its pattern.
            NotFound: If there is none.
        """
        parts = parse(name, PATTERN, field=field)
        async with self._database.read() as connection:
            found = await self._find(connection, parts["project"], parts["alias"])
        if found is None:
            raise _no_such(name)
        return found

    async def list_page(self, project: str, after: str, limit: int) -> list[Deployment]:
        """Return a project's deployments by alias.

        Args:
            project: Id of the project.
            after: Alias after which the page begins; empty for the first page.
            limit: Most deployments to return.
        """
        query = (
            select(rows)
            .where(rows.c.project == project, rows.c.alias > after)
            .order_by(rows.c.alias)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [from_row(row) for row in (await connection.execute(query)).all()]

    async def list_all(self) -> list[Deployment]:
        """Return the deployments of all projects, newest decision first."""
        async with self._database.read() as connection:
            return await self._all(connection)

    async def list_changes(self, name: str, after: str, limit: int) -> list[tuple[str, Change]]:
        """Return what was decided about an alias, newest first, each with its id.

        Args:
            name: Of the deployment.
            after: Id after which the page begins; empty for the first page.
            limit: Most changes to return.

        Raises:
            InvalidArgument: If the name does not follow its pattern.
        """
        parts = parse(name, PATTERN, field="parent")
        query = select(changes).where(
            changes.c.project == parts["project"], changes.c.alias == parts["alias"]
        )
        if after:
            query = query.where(changes.c.id < after)
        query = query.order_by(changes.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            found = (await connection.execute(query)).all()
        return [(row.id, change_from_row(row)) for row in found]

    async def _create(
        self, request: Message, deployment: Deployment, decision: Decision, check: Check
    ) -> pb.Deployment:
        parts = parse(deployment.name, PATTERN)
        async with self._database.write() as connection:
            if answer := await self._requests.find(connection, request, pb.Deployment):
                return answer
            if await self._find(connection, parts["project"], parts["alias"]) is not None:
                raise AlreadyExists(
                    f"The alias '{deployment.alias}' is taken. Update {deployment.name} instead.",
                    reason="ALIAS_TAKEN",
                    alias=deployment.alias,
                    deployment=deployment.name,
                )
            await lock_living(connection, deployment.decided.model_versions)
            check(deployment, await self._all(connection))
            await connection.execute(insert(rows).values(to_row(deployment)))
            await self._note(connection, deployment, ChangeKind.CREATE, decision)
            if deployment.state is DeploymentState.READY:
                await self._tell_ready(connection, deployment)
            return await self._answer(connection, request, deployment)

    async def _all(self, connection: AsyncConnection) -> list[Deployment]:
        query = select(rows).order_by(rows.c.decide_time.desc())
        return [from_row(row) for row in (await connection.execute(query)).all()]

    async def _find(
        self, connection: AsyncConnection, project: str, alias: str
    ) -> Deployment | None:
        query = select(rows).where(rows.c.project == project, rows.c.alias == alias)
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else from_row(row)

    async def _replace(
        self, connection: AsyncConnection, before: Deployment, after: Deployment
    ) -> None:
        row = to_row(after)
        statement = (
            update(rows)
            .where(
                rows.c.project == row["project"],
                rows.c.alias == row["alias"],
                rows.c.etag == before.etag,
                rows.c.state == before.state.value,
            )
            .values(row)
        )
        await guarded(connection, statement, before.name)

    async def _note(
        self, connection: AsyncConnection, after: Deployment, kind: ChangeKind, by: Decision
    ) -> None:
        parts = parse(after.name, PATTERN)
        is_gone = kind is ChangeKind.DELETE
        values = {
            "id": new_id(after.decide_time),
            "project": parts["project"],
            "alias": parts["alias"],
            "kind": kind.value,
            "author": by.author,
            "reason": by.reason,
            "override_reason": by.override_reason,
            **arms_to_row("", Arms("") if is_gone else after.decided),
            "create_time": after.decide_time,
        }
        await connection.execute(insert(changes).values(values))

    async def _tell_ready(self, connection: AsyncConnection, deployment: Deployment) -> None:
        event = events_pb2.DeploymentReady(deployment=self._message(deployment))
        await self._outbox.add(
            connection, "deployment.ready", deployment.name, event, deployment.update_time
        )

    async def _answer(
        self, connection: AsyncConnection, request: Message, deployment: Deployment
    ) -> pb.Deployment:
        answer = self._message(deployment)
        await self._requests.keep(connection, request, answer, deployment.update_time)
        return answer

    def _message(self, deployment: Deployment) -> pb.Deployment:
        return wire.deployment_to_proto(deployment, self.endpoint)


def _no_such(name: str) -> NotFound:
    return NotFound(
        f"There is no deployment {name}. List those that there are.",
        reason="NO_SUCH_DEPLOYMENT",
        name=name,
    )
