"""Events that commit with the change they tell of, and are taken in once.

The outbox row is written in the transaction of the change; a relay publishes it afterwards, as
often as needed. The inbox row is written in the transaction of the effect, so a delivery that
comes twice has one effect.
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from sqlalchemy import (
    Column,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.common.clock import Clock, new_id
from services.common.database import Database
from services.common.events import Bus, EventsAway, subject_of
from services.common.names import last_part, project_of
from services.common.waiting import until_set

log = logging.getLogger(__name__)

BATCH_MAX = 100
IDLE_S = 5.0
"""Longest time between two looks at the outbox; a commit wakes the relay at once."""


def outbox_table(metadata: MetaData) -> Table:
    """Add the outbox to a service's metadata and return it."""
    return Table(
        "outbox",
        metadata,
        Column("sequence", Integer, primary_key=True, autoincrement=True),
        Column("event_id", String(64), nullable=False, unique=True),
        Column("subject", String(400), nullable=False),
        Column("payload", Text, nullable=False),
        Column("create_time", DateTime(timezone=True), nullable=False),
        Column("publish_time", DateTime(timezone=True), nullable=True, index=True),
    )


def inbox_table(metadata: MetaData) -> Table:
    """Add the inbox to a service's metadata and return it."""
    return Table(
        "inbox",
        metadata,
        Column("consumer", String(64), primary_key=True),
        Column("event_id", String(64), primary_key=True),
        Column("create_time", DateTime(timezone=True), nullable=False),
    )


class Outbox:
    """Where a service puts the events of its changes."""

    def __init__(self, table: Table, source: str) -> None:
        """Keep the table and the CloudEvents source, such as `/attune/planner`."""
        self._table = table
        self._source = source

    async def add(
        self, connection: AsyncConnection, event: str, resource: str, data: Message, now: datetime
    ) -> None:
        """Write one event in the transaction of its change.

        Args:
            connection: Of the writing transaction.
            event: Kind and past tense, such as `spec.approved`.
            resource: Name of the changed resource.
            data: A message of `attune.events.v1`.
            now: The present moment.
        """
        event_id = new_id(now)
        subject = subject_of(project_of(resource), event, last_part(resource))
        payload = {
            "specversion": "1.0",
            "id": event_id,
            "source": self._source,
            "type": f"attune.v1.{event}",
            "subject": resource,
            "time": now.isoformat(),
            "datacontenttype": "application/json",
            "dataschema": data.DESCRIPTOR.full_name,
            "data": MessageToDict(data, preserving_proto_field_name=True),
        }
        values = {
            "event_id": event_id,
            "subject": subject,
            "payload": json.dumps(payload, ensure_ascii=False),
            "create_time": now,
        }
        await connection.execute(insert(self._table).values(values))


class Inbox:
    """What a service has taken in."""

    def __init__(self, table: Table, consumer: str) -> None:
        """Keep the table and the name of the consumer."""
        self._table = table
        self._consumer = consumer

    async def is_new(self, connection: AsyncConnection, event_id: str, now: datetime) -> bool:
        """Return whether the event is new, and mark it as taken in when it is.

        Args:
            connection: Of the transaction of the effect.
            event_id: CloudEvents id.
            now: The present moment.
        """
        key = (self._table.c.consumer == self._consumer) & (self._table.c.event_id == event_id)
        if (await connection.execute(select(self._table.c.event_id).where(key))).first():
            return False
        values = {"consumer": self._consumer, "event_id": event_id, "create_time": now}
        await connection.execute(insert(self._table).values(values))
        return True


class Relay:
    """Publishes what stands in the outbox, oldest first, until it is stopped."""

    def __init__(self, database: Database, table: Table, bus: Bus, clock: Clock) -> None:
        """Listen to the database's commits; `run` does the rest."""
        self._database = database
        self._table = table
        self._bus = bus
        self._clock = clock
        self._wake = asyncio.Event()
        database.on_commit(self._wake.set)

    async def run(self) -> None:
        """Publish for ever; NATS being away only delays it."""
        while True:
            self._wake.clear()
            try:
                while await self.publish_batch():
                    pass
            except EventsAway as error:
                log.info("events wait in the outbox: %s", error)
            await until_set(self._wake, IDLE_S)

    async def publish_batch(self) -> int:
        """Publish the oldest rows, at most 100, and return how many.

        Raises:
            EventsAway: If NATS cannot be reached; nothing is lost.
        """
        table = self._table
        query = (
            select(table.c.sequence, table.c.event_id, table.c.subject, table.c.payload)
            .where(table.c.publish_time.is_(None))
            .order_by(table.c.sequence)
            .limit(BATCH_MAX)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        for row in rows:
            await self._bus.publish(row.subject, row.payload.encode(), row.event_id)
        if rows:
            done = update(table).where(table.c.sequence.in_([row.sequence for row in rows]))
            async with self._database.write() as connection:
                await connection.execute(done.values(publish_time=self._clock.now()))
        return len(rows)
