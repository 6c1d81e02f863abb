"""Rows of API keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attune.serving.v1 import key_pb2 as pb
from google.protobuf.message import Message
from sqlalchemy import func, insert, select, update

from services.common.clock import Clock
from services.common.database import Database, aware
from services.common.errors import NotFound, ResourceExhausted
from services.common.idempotency import Requests
from services.common.names import last_part, parse, project_of
from services.serving import store, wire_key
from services.serving.keys.key import ApiKey
from services.serving.keys.limits import Limits

PATTERN = "projects/{project}/apiKeys/{api_key}"
LIVING_MAX = 1000
"""Keys of a project that are not revoked."""

rows = store.api_keys


class KeyStore:
    """Which keys there are."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Keep the database and the clock."""
        self._database = database
        self._clock = clock
        self._requests = Requests(store.requests)

    async def create(self, request: Message, key: ApiKey) -> tuple[pb.ApiKey, bool]:
        """Keep a new key, and return it and true; of a repeated request, the first key and false.

        Raises:
            ResourceExhausted: If the project has as many keys as it may.
        """
        async with self._database.write() as connection:
            if answer := await self._requests.find(connection, request, pb.ApiKey):
                return answer, False
            living = select(func.count()).where(
                rows.c.project == project_of(key.name), rows.c.revoke_time.is_(None)
            )
            if (await connection.execute(living)).scalar_one() >= LIVING_MAX:
                raise ResourceExhausted(
                    f"The project has {LIVING_MAX:,} keys. Revoke one that nobody uses.",
                    reason="TOO_MANY_KEYS",
                    keys_max=str(LIVING_MAX),
                )
            await connection.execute(insert(rows).values(_to_row(key)))
            answer = wire_key.key_to_proto(key)
            await self._requests.keep(connection, request, answer, key.create_time)
            return answer, True

    async def revoke(self, request: Message, name: str) -> pb.ApiKey:
        """End a key, or return the first answer to a repeated request.

        Raises:
            InvalidArgument: If the name does not follow its pattern.
            NotFound: If there is no such key.
        """
        parts = parse(name, PATTERN)
        is_this = (rows.c.project == parts["project"], rows.c.id == parts["api_key"])
        async with self._database.write() as connection:
            if answer := await self._requests.find(connection, request, pb.ApiKey):
                return answer
            now = self._clock.now()
            ended = update(rows).where(*is_this, rows.c.revoke_time.is_(None))
            await connection.execute(ended.values(revoke_time=now))
            row = (await connection.execute(select(rows).where(*is_this))).one_or_none()
            if row is None:
                raise NotFound(
                    f"There is no key {name}. List those that there are.",
                    reason="NO_SUCH_KEY",
                    name=name,
                )
            answer = wire_key.key_to_proto(_from_row(row))
            await self._requests.keep(connection, request, answer, now)
            return answer

    async def list_page(self, project: str, after: str, limit: int) -> list[ApiKey]:
        """Return a project's keys, newest first.

        Args:
            project: Id of the project.
            after: Id after which the page begins; empty for the first page.
            limit: Most keys to return.
        """
        query = select(rows).where(rows.c.project == project).order_by(rows.c.id.desc())
        if after:
            query = query.where(rows.c.id < after)
        async with self._database.read() as connection:
            found = (await connection.execute(query.limit(limit))).all()
        return [_from_row(row) for row in found]

    async def list_living(self) -> list[ApiKey]:
        """Return the keys of all projects that are not revoked."""
        query = select(rows).where(rows.c.revoke_time.is_(None))
        async with self._database.read() as connection:
            return [_from_row(row) for row in (await connection.execute(query)).all()]

    async def note_uses(self, uses: Mapping[str, datetime]) -> None:
        """Keep when keys were last used.

        Args:
            uses: By name of the key.
        """
        async with self._database.write() as connection:
            for name, moment in uses.items():
                is_this = rows.c.id == last_part(name)
                await connection.execute(update(rows).where(is_this).values(last_use_time=moment))


def _to_row(key: ApiKey) -> dict[str, Any]:
    parts = parse(key.name, PATTERN)
    return {
        "id": parts["api_key"],
        "project": parts["project"],
        "title": key.title,
        "secret_prefix": key.secret_prefix,
        "secret_sha256": key.secret_sha256,
        "models": json.dumps(key.models),
        "requests_per_minute": key.limits.requests_per_minute,
        "tokens_per_minute": key.limits.tokens_per_minute,
        "concurrent_requests": key.limits.concurrent_requests,
        "create_time": key.create_time,
        "expire_time": key.expire_time,
        "revoke_time": key.revoke_time,
        "last_use_time": key.last_use_time,
    }


def _from_row(row: Any) -> ApiKey:
    return ApiKey(
        name=f"projects/{row.project}/apiKeys/{row.id}",
        title=row.title,
        secret_prefix=row.secret_prefix,
        secret_sha256=row.secret_sha256,
        models=tuple(json.loads(row.models)),
        limits=Limits(row.requests_per_minute, row.tokens_per_minute, row.concurrent_requests),
        create_time=aware(row.create_time),
        expire_time=_moment(row.expire_time),
        revoke_time=_moment(row.revoke_time),
        last_use_time=_moment(row.last_use_time),
    )


def _moment(value: datetime | None) -> datetime | None:
    return None if value is None else aware(value)
