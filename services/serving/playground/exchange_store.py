"""Rows of exchanges and of what people think of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from attune.serving.v1 import playground_pb2 as pb
from google.protobuf.message import Message
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.clock import Clock
from services.common.database import Database, aware, guarded
from services.common.errors import NotFound
from services.common.idempotency import Requests
from services.common.names import parse
from services.serving import store, wire_playground
from services.serving.playground.exchange import PATTERN, Exchange
from services.serving.playground.preference import Preference, Verdict

KEPT_MAX = 10_000
"""Newest exchanges of a project that are kept without a preference."""

rows = store.exchanges


class ExchangeStore:
    """The history of the playground."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Keep the database and the clock."""
        self._database = database
        self._clock = clock
        self._requests = Requests(store.requests)

    async def add(self, exchange: Exchange) -> None:
        """Keep a new exchange, and forget what has become too old by it."""
        values = {
            "id": exchange.id,
            "project": exchange.project,
            "prompt": wire_playground.prompt_to_proto(exchange.prompt).SerializeToString(),
            "answers": _answers(exchange),
            **_preference_to_row(exchange.preference),
            "create_time": exchange.create_time,
        }
        async with self._database.write() as connection:
            await connection.execute(insert(rows).values(values))
            await self._prune(connection, exchange.project)

    async def replace_answers(self, exchange: Exchange) -> None:
        """Keep what came of the answers; one that is forgotten already stays so."""
        # Only the call that answers an exchange writes its answers: there is nothing to guard.
        statement = update(rows).where(rows.c.id == exchange.id).values(answers=_answers(exchange))
        async with self._database.write() as connection:
            await connection.execute(statement)

    async def get(self, name: str, *, field: str = "name") -> Exchange:
        """Return an exchange.

        Raises:
            InvalidArgument: If the name does not follow its pattern.
            NotFound: If there is none.
        """
        async with self._database.read() as connection:
            return await self._get(connection, name, field)

    async def list_page(
        self, project: str, after: str, limit: int, *, with_preference: bool = False
    ) -> list[Exchange]:
        """Return a project's exchanges, newest first.

        Args:
            project: Id of the project.
            after: Id after which the page begins; empty for the first page.
            limit: Most exchanges to return.
            with_preference: Only those that have one.
        """
        query = select(rows).where(rows.c.project == project)
        if after:
            query = query.where(rows.c.id < after)
        if with_preference:
            query = query.where(rows.c.verdict != "")
        query = query.order_by(rows.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            return [_from_row(row) for row in (await connection.execute(query)).all()]

    async def record(
        self,
        request: Message,
        name: str,
        preference: Preference,
        check: Callable[[Exchange], None],
    ) -> pb.Exchange:
        """Keep an opinion in place of an earlier one, or return the first answer to a repeat.

        Args:
            request: Has a request_id.
            name: Of the exchange.
            preference: The opinion.
            check: Refuses it, given the exchange.

        Raises:
            NotFound: If there is no such exchange.
            ServiceError: Whatever `check` raises.
        """
        async with self._database.write() as connection:
            if answer := await self._requests.find(connection, request, pb.Exchange):
                return answer
            exchange = await self._get(connection, name, "exchange")
            check(exchange)
            row = _preference_to_row(preference)
            statement = update(rows).where(rows.c.id == exchange.id).values(row)
            await guarded(connection, statement, name)
            made = wire_playground.exchange_to_proto(replace(exchange, preference=preference))
            await self._requests.keep(connection, request, made, preference.create_time)
            return made

    async def find_export(self, request: Message) -> pb.ExportPreferencesResponse | None:
        """Return the first answer to an export that came before, or None if it is new."""
        async with self._database.read() as connection:
            return await self._requests.find(connection, request, pb.ExportPreferencesResponse)

    async def keep_export(
        self, request: Message, made: pb.ExportPreferencesResponse
    ) -> pb.ExportPreferencesResponse:
        """Remember the answer to an export, or return the one that came first."""
        async with self._database.write() as connection:
            found = await self._requests.find(connection, request, pb.ExportPreferencesResponse)
            if found is not None:
                return found
            await self._requests.keep(connection, request, made, self._clock.now())
            return made

    async def _get(self, connection: AsyncConnection, name: str, field: str) -> Exchange:
        parts = parse(name, PATTERN, field=field)
        query = select(rows).where(
            rows.c.project == parts["project"], rows.c.id == parts["exchange"]
        )
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise NotFound(
                f"There is no exchange {name}. List those that there are.",
                reason="NO_SUCH_EXCHANGE",
                name=name,
            )
        return _from_row(row)

    async def _prune(self, connection: AsyncConnection, project: str) -> None:
        """Forget the exchanges beyond the newest ones that nobody has an opinion of."""
        newest = (
            select(rows.c.id)
            .where(rows.c.project == project)
            .order_by(rows.c.id.desc())
            .offset(KEPT_MAX)
            .limit(1)
        )
        oldest = (await connection.execute(newest)).scalar()
        if oldest is not None:
            statement = delete(rows).where(
                rows.c.project == project, rows.c.verdict == "", rows.c.id <= oldest
            )
            await connection.execute(statement)


def _answers(exchange: Exchange) -> bytes:
    answers = [wire_playground.answer_to_proto(one) for one in exchange.answers]
    return pb.Exchange(answers=answers).SerializeToString()


def _preference_to_row(preference: Preference | None) -> dict[str, Any]:
    return {
        "verdict": preference.verdict.value if preference else "",
        "answer_index": preference.answer_index if preference else 0,
        "corrected_answer": preference.corrected_answer if preference else "",
        "author": preference.author if preference else "",
        "preference_create_time": preference.create_time if preference else None,
    }


def _from_row(row: Any) -> Exchange:
    preference = None
    if row.verdict:
        preference = Preference(
            Verdict(row.verdict),
            aware(row.preference_create_time),
            row.answer_index,
            row.corrected_answer,
            row.author,
        )
    answers = pb.Exchange.FromString(row.answers).answers
    return Exchange(
        name=f"projects/{row.project}/exchanges/{row.id}",
        prompt=wire_playground.prompt_from_proto(pb.Prompt.FromString(row.prompt)),
        answers=tuple(wire_playground.answer_from_proto(one) for one in answers),
        create_time=aware(row.create_time),
        preference=preference,
    )
