"""Rows of deployments; every change commits with its answer and its event."""

from __future__ import annotations

from typing import Any

from attune.events.v1 import events_pb2
from attune.serving.v1 import deployment_pb2 as pb
from google.protobuf.message import Message
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.clock import Clock, new_id
from services.common.database import Database, aware, guarded
from services.common.errors import AlreadyExists, Conflict, NotFound
from services.common.idempotency import Requests
from services.common.names import parse
from services.common.outbox import Outbox
from services.serving import deployment as domain
from services.serving import store, wire
from services.serving.deployment import Deployment, DeploymentState
from services.serving.version import Version

PATTERN = "projects/{project}/deployments/{alias}"

rows = store.deployments


class DeploymentStore:
    """Which alias points at which version."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Keep the database and the clock."""
        self._database = database
        self._clock = clock
        self._outbox = Outbox(store.outbox, store.SOURCE)
        self._requests = Requests(store.requests)
        self.endpoint = ""
        """Base URL for OpenAI clients; known once the endpoint listens."""

    async def find_answer(self, request: Message) -> pb.Deployment | None:
        """Return the first answer to a request that came before, or None if it is new."""
        async with self._database.read() as connection:
            return await self._requests.find(connection, request, pb.Deployment)

    async def create(
        self, request: pb.CreateDeploymentRequest, project: str, version: Version
    ) -> pb.Deployment:
        """Make a deployment, or return the first answer to a repeated request.

        Raises:
            AlreadyExists: If the alias is taken.
            Conflict: If somebody else takes the alias at this very moment.
            ResourceExhausted: If too many adapters are deployed.
        """
        try:
            return await self._create(request, project, version)
        except IntegrityError:  # PostgreSQL lets two of them come this far.
            raise Conflict(
                f"'{request.deployment_id}' is being made by somebody else. Repeat the request.",
                reason="CHANGED_CONCURRENTLY",
                alias=request.deployment_id,
            ) from None

    async def switch(
        self, request: pb.UpdateDeploymentRequest, version: Version, *, held: bool
    ) -> pb.Deployment:
        """Point an alias at another version, or return the first answer to a repeated request.

        Args:
            request: Names the deployment and the version.
            version: A READY one.
            held: Whether the engine holds it already.

        Raises:
            NotFound: If there is no such deployment.
            Conflict: If the etag is not the newest one.
            ResourceExhausted: If too many adapters are deployed.
        """
        name = request.deployment.name
        parts = parse(name, PATTERN, field="deployment.name")
        async with self._database.write() as connection:
            if answer := await self._requests.find(connection, request, pb.Deployment):
                return answer
            before = await self._find(connection, parts["project"], parts["alias"])
            if before is None:
                raise _no_such(name)
            domain.check_etag(before, request.deployment.etag)
            domain.check_room(await self._deployed(connection, name), version.adapter_sha256)
            now = self._clock.now()
            after = domain.point_at(before, version, held=held, etag=new_id(now), now=now)
            await self._replace(connection, before, after)
            if after.state is DeploymentState.READY:
                await self._tell_ready(connection, after)
            return await self._answer(connection, request, after)

    async def confirm(self, deployment: Deployment) -> None:
        """Mark a PENDING deployment READY: the engine holds its version.

        Raises:
            Conflict: If it was pointed elsewhere in between.
        """
        after = domain.confirm(deployment, self._clock.now())
        async with self._database.write() as connection:
            await self._replace(connection, deployment, after)
            await self._tell_ready(connection, after)

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
            return [_from_row(row) for row in (await connection.execute(query)).all()]

    async def list_all(self) -> list[Deployment]:
        """Return the deployments of all projects, newest decision first."""
        query = select(rows).order_by(rows.c.update_time.desc())
        async with self._database.read() as connection:
            return [_from_row(row) for row in (await connection.execute(query)).all()]

    async def _create(
        self, request: pb.CreateDeploymentRequest, project: str, version: Version
    ) -> pb.Deployment:
        async with self._database.write() as connection:
            if answer := await self._requests.find(connection, request, pb.Deployment):
                return answer
            now = self._clock.now()
            made = domain.create(project, request.deployment_id, version, new_id(now), now)
            if await self._find(connection, project, made.alias) is not None:
                raise AlreadyExists(
                    f"The alias '{made.alias}' is taken. Update {made.name} instead.",
                    reason="ALIAS_TAKEN",
                    alias=made.alias,
                    deployment=made.name,
                )
            domain.check_room(await self._deployed(connection, made.name), made.adapter_sha256)
            await connection.execute(insert(rows).values(_to_row(made)))
            return await self._answer(connection, request, made)

    async def _find(
        self, connection: AsyncConnection, project: str, alias: str
    ) -> Deployment | None:
        query = select(rows).where(rows.c.project == project, rows.c.alias == alias)
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else _from_row(row)

    async def _deployed(self, connection: AsyncConnection, but: str) -> set[str]:
        """Return the adapters behind all deployments but one."""
        found = (await connection.execute(select(rows))).all()
        return {row.adapter_sha256 for row in found if _from_row(row).name != but}

    async def _replace(
        self, connection: AsyncConnection, before: Deployment, after: Deployment
    ) -> None:
        row = _to_row(after)
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

    async def _answer(
        self, connection: AsyncConnection, request: Message, deployment: Deployment
    ) -> pb.Deployment:
        answer = wire.deployment_to_proto(deployment, self.endpoint)
        await self._requests.keep(connection, request, answer, deployment.update_time)
        return answer

    async def _tell_ready(self, connection: AsyncConnection, deployment: Deployment) -> None:
        data = events_pb2.DeploymentReady(
            deployment=wire.deployment_to_proto(deployment, self.endpoint)
        )
        await self._outbox.add(
            connection, "deployment.ready", deployment.name, data, deployment.update_time
        )


def _no_such(name: str) -> NotFound:
    return NotFound(
        f"There is no deployment {name}. List those that there are.",
        reason="NO_SUCH_DEPLOYMENT",
        name=name,
    )


def _to_row(deployment: Deployment) -> dict[str, Any]:
    parts = parse(deployment.name, PATTERN)
    return {
        "project": parts["project"],
        "alias": parts["alias"],
        "model_version": deployment.model_version,
        "adapter_sha256": deployment.adapter_sha256,
        "target": deployment.target,
        "state": deployment.state.value,
        "etag": deployment.etag,
        "create_time": deployment.create_time,
        "update_time": deployment.update_time,
    }


def _from_row(row: Any) -> Deployment:
    return Deployment(
        name=f"projects/{row.project}/deployments/{row.alias}",
        model_version=row.model_version,
        adapter_sha256=row.adapter_sha256,
        target=row.target,
        state=DeploymentState(row.state),
        etag=row.etag,
        create_time=aware(row.create_time),
        update_time=aware(row.update_time),
    )
