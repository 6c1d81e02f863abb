"""Answers to repeated requests: the same request_id gets the first answer, once for all time.

The row is written in the transaction of the mutation itself, so there is no moment in which one
exists without the other.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy import (
    Column,
    DateTime,
    LargeBinary,
    MetaData,
    String,
    Table,
    func,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.errors import Violation, invalid
from services.common.names import check_request_id

Answer = TypeVar("Answer", bound=Message)


def requests_table(metadata: MetaData) -> Table:
    """Add the table to a service's metadata and return it."""
    return Table(
        "requests",
        metadata,
        Column("request_id", String(64), primary_key=True),
        Column("body_sha256", String(64), nullable=False),
        Column("answer", LargeBinary, nullable=False),
        Column("create_time", DateTime(timezone=True), nullable=False),
    )


class Requests:
    """The answers of one service."""

    def __init__(self, table: Table) -> None:
        """Keep the table that `requests_table` made."""
        self._table = table

    async def find(
        self, connection: AsyncConnection, request: Message, answer: type[Answer]
    ) -> Answer | None:
        """Return the first answer to this request, or None if it is new.

        Args:
            connection: Of a transaction; for a certain answer, of the writing one.
            request: Has a `request_id`.
            answer: The response's class.

        Raises:
            InvalidArgument: If request_id is not a UUID, or was used for another request.
        """
        request_id: str = request.request_id  # type: ignore[attr-defined]
        check_request_id(request_id)
        if connection.dialect.name == "postgresql":
            # A second request with this id waits here until the first one's answer is committed;
            # on SQLite the write transaction itself does that.
            lock = func.pg_advisory_xact_lock(func.hashtextextended(request_id, 0))
            await connection.execute(select(lock))
        query = select(self._table).where(self._table.c.request_id == request_id)
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        if row.body_sha256 != _body_sha256(request):
            text = f"'{request_id}' was used for another request. Send a new UUID."
            raise invalid([Violation("request_id", "REUSED", text)])
        return answer.FromString(row.answer)

    async def keep(
        self, connection: AsyncConnection, request: Message, answer: Message, now: datetime
    ) -> None:
        """Remember the answer, in the transaction of the mutation.

        Args:
            connection: Of the writing transaction.
            request: Has a `request_id`.
            answer: What the caller is about to get.
            now: The present moment.
        """
        values = {
            "request_id": request.request_id,  # type: ignore[attr-defined]
            "body_sha256": _body_sha256(request),
            "answer": answer.SerializeToString(),
            "create_time": now,
        }
        await connection.execute(insert(self._table).values(values))


def _body_sha256(request: Message) -> str:
    name = request.DESCRIPTOR.full_name.encode()
    return sha256(name + b"\0" + request.SerializeToString(deterministic=True)).hexdigest()
