"""Conversations and their turns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2
from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.database import aware, guarded
from services.common.errors import NotFound, ResourceExhausted
from services.planner.spec_store import write_revision
from services.planner.store import CONVERSATIONS, TURNS, Store

TURNS_MAX = 200
TURNS_BYTES_MAX = 3 * 1024 * 1024
"""Of all turns together: with one more they stay below the 4 MiB that gRPC clients take."""


@dataclass(frozen=True)
class ConversationRow:
    """A conversation as it is stored."""

    name: str
    version: int
    brief: str
    spec: str
    turn_count: int
    create_time: datetime
    update_time: datetime


class ConversationStore:
    """Keeps conversations."""

    def __init__(self, store: Store) -> None:
        """Share the database."""
        self._store = store

    async def create(
        self,
        request: planner_pb2.CreateConversationRequest,
        conversation: planner_pb2.Conversation,
        brief: str,
        now: datetime,
    ) -> planner_pb2.Conversation:
        """Add an empty conversation, or return the one that the same request made before."""

        async def work(connection: AsyncConnection) -> planner_pb2.Conversation:
            values = {
                "name": conversation.name,
                "version": 1,
                "brief": brief,
                "spec": "",
                "turn_count": 0,
                "create_time": now,
                "update_time": now,
            }
            await connection.execute(insert(CONVERSATIONS).values(values))
            return conversation

        return await self._store.answer_once(request, planner_pb2.Conversation, work, now)

    async def get(self, name: str) -> ConversationRow:
        """Return a conversation.

        Raises:
            NotFound: If there is none of that name.
        """
        async with self._store.database.read() as connection:
            return await _get(connection, name)

    async def get_with_turns(self, name: str) -> tuple[ConversationRow, list[planner_pb2.Turn]]:
        """Return a conversation and its turns, oldest first.

        Raises:
            NotFound: If there is none of that name.
        """
        query = select(TURNS.c.turn).where(TURNS.c.conversation == name)
        async with self._store.database.read() as connection:
            row = await _get(connection, name)
            turns = (await connection.execute(query.order_by(TURNS.c.turn_index))).scalars()
            return row, [planner_pb2.Turn.FromString(turn) for turn in turns]

    async def check_room(self, row: ConversationRow) -> None:
        """Refuse a turn that the conversation has no room for.

        Raises:
            ResourceExhausted: If it has 200 turns, or 3 MiB of them.
        """
        query = select(func.sum(func.length(TURNS.c.turn))).where(TURNS.c.conversation == row.name)
        async with self._store.database.read() as connection:
            size_bytes = (await connection.execute(query)).scalar_one() or 0
        if row.turn_count >= TURNS_MAX or size_bytes >= TURNS_BYTES_MAX:
            raise ResourceExhausted(
                f"{row.name} has {row.turn_count} turns of {size_bytes:,} bytes; {TURNS_MAX} turns "
                f"or {TURNS_BYTES_MAX:,} bytes are the most. Start another one.",
                reason="CONVERSATION_FULL",
                conversation=row.name,
                turn_count=str(row.turn_count),
                size_bytes=str(size_bytes),
            )

    async def list_newest(self, project: str, after: str, limit: int) -> list[ConversationRow]:
        """Return conversations of a project, newest first.

        Args:
            project: Id.
            after: Name of the conversation before the first; empty to start.
            limit: Most entries.
        """
        prefix = f"projects/{project}/conversations/"
        query = select(CONVERSATIONS).where(
            CONVERSATIONS.c.name.startswith(prefix, autoescape=True)
        )
        if after:
            query = query.where(CONVERSATIONS.c.name < after)
        query = query.order_by(CONVERSATIONS.c.name.desc()).limit(limit)
        async with self._store.database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_row(row) for row in rows]

    async def add_turn(
        self,
        request: planner_pb2.SendMessageRequest,
        before: ConversationRow,
        brief: str,
        turn: planner_pb2.Turn,
        spec: spec_pb2.Spec | None,
        spec_before: spec_pb2.Spec | None,
        now: datetime,
        *,
        withdrawn: bool = False,
    ) -> planner_pb2.Turn:
        """Add a turn and, in the same transaction, the spec revision that it made.

        Args:
            request: Whose answer the turn is.
            before: The conversation as it was read.
            brief: What is known after the turn.
            turn: The turn.
            spec: The new revision; None when the turn made none.
            spec_before: The revision that it replaces; None for the first.
            now: The present moment.
            withdrawn: Whether the conversation has no spec any more.

        Raises:
            Conflict: If conversation or spec changed in between.
        """

        async def work(connection: AsyncConnection) -> planner_pb2.Turn:
            change = (
                update(CONVERSATIONS)
                .where(CONVERSATIONS.c.name == before.name)
                .where(CONVERSATIONS.c.version == before.version)
                .values(
                    version=before.version + 1,
                    brief=brief,
                    spec=spec.name if spec else "" if withdrawn else before.spec,
                    turn_count=before.turn_count + 1,
                    update_time=now,
                )
            )
            await guarded(connection, change, before.name)
            if spec is not None:
                await write_revision(connection, spec, spec_before, brief, now)
            values = {
                "conversation": before.name,
                "turn_index": before.turn_count,
                "turn": turn.SerializeToString(),
            }
            await connection.execute(insert(TURNS).values(values))
            return turn

        return await self._store.answer_once(request, planner_pb2.Turn, work, now)


async def _get(connection: AsyncConnection, name: str) -> ConversationRow:
    query = select(CONVERSATIONS).where(CONVERSATIONS.c.name == name)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(
            f"There is no conversation {name}. Start one with CreateConversation.",
            reason="CONVERSATION_NOT_FOUND",
            conversation=name,
        )
    return _row(row)


def _row(row: RowMapping) -> ConversationRow:
    times = {key: aware(row[key]) for key in ("create_time", "update_time")}
    return ConversationRow(**{**row, **times})
