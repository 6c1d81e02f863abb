"""Waits end with the event, with the time, and with whoever waits; in any order."""

import asyncio
import math

import pytest

from services.common.clock import SystemClock
from services.common.events import Bus
from services.common.outbox import Relay
from services.common.waiting import until_set
from tests.common.test_events import OUTBOX, a_database


async def begun(coroutine) -> asyncio.Task:
    """Return its task, once it waits."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    return task


async def test_a_wait_ends_with_the_event():
    event = asyncio.Event()
    waiting = await begun(until_set(event, math.inf))
    event.set()
    await waiting


async def test_a_wait_ends_with_the_time_and_says_nothing():
    await until_set(asyncio.Event(), 0.001)


async def test_a_wait_for_what_has_happened_ends_at_once():
    event = asyncio.Event()
    event.set()
    await until_set(event, math.inf)


@pytest.mark.parametrize("is_set_first", [True, False])
async def test_a_cancellation_in_the_moment_of_the_event_is_not_lost(is_set_first):
    event = asyncio.Event()
    waiting = await begun(until_set(event, math.inf))
    for act in (event.set, waiting.cancel) if is_set_first else (waiting.cancel, event.set):
        act()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_relay_that_is_ended_in_the_moment_of_a_commit_ends(tmp_path):
    looked = asyncio.Event()

    class Looking(Relay):
        """Tells when it has found nothing; it waits from there on."""

        async def publish_batch(self) -> int:
            count = await super().publish_batch()
            looked.set()
            return count

    database = await a_database(tmp_path / "a.db")
    relay = asyncio.create_task(
        Looking(database, OUTBOX, Bus("nats://127.0.0.1:1", "test"), SystemClock()).run()
    )
    await looked.wait()
    database.on_commit(relay.cancel)
    async with database.write():
        pass
    await asyncio.wait([relay], timeout=10)
    assert relay.cancelled()
    relay.cancel()
    await database.close()
