"""Whoever waits for a change wakes with it, with the service's end, and with its own."""

import asyncio
import math

import pytest

from services.common.database import Database
from services.scheduler.changes import Changes
from tests.scheduler.factories import sqlite_url


@pytest.fixture
async def database(tmp_path):
    made = Database(sqlite_url(tmp_path), tmp_path)
    yield made
    await made.close()


async def waiting(changes: Changes) -> asyncio.Task:
    """Return the task of one who waits."""
    task = asyncio.create_task(changes.wait(changes.next(), math.inf))
    await asyncio.sleep(0)
    return task


async def test_a_commit_wakes_who_waits(database):
    changes = Changes(database)
    one = await waiting(changes)
    async with database.write():
        pass
    await one
    assert changes.count == 1


async def test_nobody_waits_once_the_service_ends(database):
    changes = Changes(database)
    one = await waiting(changes)
    changes.close()
    await one
    await changes.wait(changes.next(), math.inf)


async def test_who_is_cancelled_in_the_moment_of_a_commit_is_cancelled(database):
    changes = Changes(database)
    one = await waiting(changes)
    database.on_commit(one.cancel)
    async with database.write():
        pass
    with pytest.raises(asyncio.CancelledError):
        await one
