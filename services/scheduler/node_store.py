"""Nodes as they last reported themselves."""

from __future__ import annotations

from datetime import datetime

from attune.scheduler.v1.worker_pb2 import Node
from sqlalchemy import ColumnElement, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from services.common.database import Database, aware
from services.scheduler.row_store import JOBS, NODES
from services.scheduler.state import LEASED


class NodeStore:
    """Which nodes there are and when they were last heard of."""

    def __init__(self, database: Database) -> None:
        """Keep the database."""
        self._database = database

    async def put(self, node: Node, now: datetime) -> None:
        """Keep a node as it is now, with its heartbeat."""
        values = {
            "instance": node.instance,
            "node": node.SerializeToString(),
            "heartbeat_time": now,
        }
        change = update(NODES).where(NODES.c.id == node.id).values(values)
        async with self._database.write() as connection:
            if (await connection.execute(change)).rowcount:
                return
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(NODES).values(id=node.id, **values))
        except IntegrityError:  # Its other poll was first, with the same facts.
            return

    async def list_live(self, since: datetime, now: datetime) -> list[Node]:
        """Return the nodes that `list_heard` returns, without the times."""
        return [node for node, _ in await self.list_heard(since, now)]

    async def list_heard(self, since: datetime, now: datetime) -> list[tuple[Node, datetime]]:
        """Return the nodes that were heard of since a moment, or that hold a lease now, by id.

        Args:
            since: Heartbeats before it do not count.
            now: Leases that ended before it do not count.

        Returns:
            Each with the time of its last heartbeat.
        """
        columns = (NODES.c.node, NODES.c.heartbeat_time)
        query = select(*columns).where(_is_live(since, now)).order_by(NODES.c.id)
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return [(Node.FromString(row.node), aware(row.heartbeat_time)) for row in rows]

    async def list_page(
        self, since: datetime, now: datetime, *, limit: int, after_id: str
    ) -> list[tuple[Node, datetime, bool]]:
        """Return nodes that ever reported themselves, by id.

        Args:
            since: Those heard of later are live.
            now: Those that hold a lease which ends later are live, too.
            limit: Most nodes.
            after_id: Only nodes after this one; empty for all.

        Returns:
            Each with the time of its last heartbeat and whether it is live.
        """
        live = _is_live(since, now).label("live")
        query = select(NODES.c.node, NODES.c.heartbeat_time, live).order_by(NODES.c.id).limit(limit)
        if after_id:
            query = query.where(NODES.c.id > after_id)
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return [
                (Node.FromString(row.node), aware(row.heartbeat_time), bool(row.live))
                for row in rows
            ]


def _is_live(since: datetime, now: datetime) -> ColumnElement[bool]:
    """Return whether a node was heard of since a moment, or holds a lease now."""
    renewed = exists().where(
        JOBS.c.node == NODES.c.id,
        JOBS.c.state.in_(LEASED),
        JOBS.c.lease_expire_time > now,
    )
    return or_(NODES.c.heartbeat_time >= since, renewed)
