"""The outbox, the relay, the consumers and the inbox, on a real NATS server."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import nats
from attune.events.v1 import events_pb2
from sqlalchemy import func, select

from services.common.clock import SystemClock
from services.common.database import Database, new_metadata
from services.common.events import DEAD_LETTERS, Bus, Event
from services.common.outbox import Inbox, Outbox, Relay, inbox_table, outbox_table

METADATA = new_metadata()
OUTBOX = outbox_table(METADATA)
INBOX = inbox_table(METADATA)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
JOB = "projects/default/jobs/a1"


async def a_database(path: Path) -> Database:
    database = Database(f"sqlite+aiosqlite:///{path}", path.parent)
    async with database.write() as connection:
        await connection.run_sync(METADATA.create_all)
    return database


async def add_event(database: Database, event: str = "job.queued") -> None:
    data = events_pb2.JobQueued()
    data.job.name = JOB
    async with database.write() as connection:
        await Outbox(OUTBOX, "/attune/test").add(connection, event, JOB, data, NOW)


class Taken:
    """Counts effects and tells when there are enough."""

    def __init__(self, wanted: int) -> None:
        self.events: list[Event] = []
        self.enough = asyncio.Event()
        self._wanted = wanted

    async def __call__(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) >= self._wanted:
            self.enough.set()


async def run_until(event: asyncio.Event, *coroutines) -> None:
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        await asyncio.wait_for(event.wait(), 20)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_committed_event_reaches_its_consumer_whole(tmp_path, nats_url):
    database, bus, taken = await a_database(tmp_path / "a.db"), Bus(nats_url, "test"), Taken(1)
    relay = Relay(database, OUTBOX, bus, SystemClock())
    await add_event(database)
    await run_until(taken.enough, relay.run(), bus.consume("one", "job.queued", taken))
    assert taken.events[0].type == "attune.v1.job.queued"
    assert taken.events[0].resource == JOB
    assert taken.events[0].parse(events_pb2.JobQueued()).job.name == JOB
    await bus.close()
    await database.close()


async def test_a_rolled_back_change_tells_nothing(tmp_path, nats_url):
    database, bus = await a_database(tmp_path / "a.db"), Bus(nats_url, "test")
    relay = Relay(database, OUTBOX, bus, SystemClock())
    try:
        async with database.write() as connection:
            await Outbox(OUTBOX, "/t").add(
                connection, "job.queued", JOB, events_pb2.JobQueued(), NOW
            )
            raise KeyError
    except KeyError:
        pass
    assert await relay.publish_batch() == 0
    await bus.close()
    await database.close()


async def test_an_event_published_twice_has_one_effect(tmp_path, nats_url):
    database, bus, taken = await a_database(tmp_path / "a.db"), Bus(nats_url, "test"), Taken(2)
    inbox, effects = Inbox(INBOX, "two"), []

    async def effect(event: Event) -> None:
        async with database.write() as connection:
            if await inbox.is_new(connection, event.id, NOW):
                effects.append(event.id)
        await taken(event)

    await add_event(database)
    async with database.read() as connection:
        row = (await connection.execute(select(OUTBOX))).one()
    # Without the header NATS does not drop the repeat: the inbox must.
    await bus.publish(row.subject, row.payload.encode(), row.event_id)
    await bus.publish(row.subject, row.payload.encode(), row.event_id + "-again")
    await run_until(taken.enough, bus.consume("two", "job.queued", effect))
    assert effects == [row.event_id]
    await bus.close()
    await database.close()


async def test_a_failing_effect_is_tried_again(tmp_path, nats_url):
    database, bus, taken = await a_database(tmp_path / "a.db"), Bus(nats_url, "test"), Taken(1)
    attempts = []

    async def effect(event: Event) -> None:
        attempts.append(event.id)
        if len(attempts) == 1:
            raise RuntimeError("not yet")
        await taken(event)

    relay = Relay(database, OUTBOX, bus, SystemClock())
    await add_event(database)
    await run_until(taken.enough, relay.run(), bus.consume("three", "job.queued", effect))
    assert attempts == [taken.events[0].id] * 2
    await bus.close()
    await database.close()


async def test_an_unreadable_event_goes_to_the_dead_letters_and_the_next_one_arrives(
    tmp_path, nats_url
):
    database, bus, taken = await a_database(tmp_path / "a.db"), Bus(nats_url, "test"), Taken(1)
    await bus.publish("attune.v1.default.job.a0.queued", b"{not json", "poison")
    await add_event(database)
    relay = Relay(database, OUTBOX, bus, SystemClock())
    await run_until(taken.enough, relay.run(), bus.consume("four", "job.queued", taken))
    client = await nats.connect(nats_url)
    letter = await client.jetstream().get_last_msg(DEAD_LETTERS, "attune.dlq.default.job.a0.queued")
    assert letter.data == b"{not json"
    assert letter.headers["Attune-Consumer"] == "four"
    await client.close()
    await bus.close()
    await database.close()


async def test_events_wait_in_the_outbox_while_nats_is_away(tmp_path, nats_server):
    database, taken = await a_database(tmp_path / "a.db"), Taken(1)
    nats_server.stop()
    bus = Bus(nats_server.url, "test")
    relay = Relay(database, OUTBOX, bus, SystemClock())
    running = asyncio.create_task(relay.run())
    await add_event(database)
    async with database.read() as connection:
        unpublished = OUTBOX.c.publish_time.is_(None)
        query = select(func.count()).select_from(OUTBOX).where(unpublished)
        assert (await connection.execute(query)).scalar_one() == 1
    nats_server.start()
    await run_until(taken.enough, bus.consume("five", "job.queued", taken))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bus.close()
    await database.close()


async def test_events_arrive_again_after_nats_came_back_without_its_disk(tmp_path, nats_server):
    database, taken = await a_database(tmp_path / "a.db"), Taken(1)
    bus = Bus(nats_server.url, "test")
    relay = Relay(database, OUTBOX, bus, SystemClock())
    await add_event(database)
    await relay.publish_batch()
    nats_server.stop()
    shutil.rmtree(tmp_path / "store")
    nats_server.start()
    await add_event(database)
    await run_until(taken.enough, relay.run(), bus.consume("six", "job.queued", taken))
    await bus.close()
    await database.close()
