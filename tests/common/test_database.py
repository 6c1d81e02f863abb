"""Transactions that lose nothing, on SQLite and on PostgreSQL, between processes too."""

import asyncio
import sys
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, Table, select, update
from sqlalchemy.exc import IntegrityError

from services.common.database import Database, guarded, new_metadata
from services.common.errors import Conflict

ROOT = Path(__file__).parents[2]
METADATA = new_metadata()
COUNTERS = Table(
    "counters",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("value", Integer, nullable=False),
)
PROCESSES = 3
INCREMENTS = 300
TRIES_MAX = 10_000
TIMEOUT_S = 120


async def a_database(url):
    database = Database(url, ROOT)
    async with database.write() as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.execute(COUNTERS.insert().values(id=1, value=0))
    return database


async def value_of(database):
    async with database.read() as connection:
        return (await connection.execute(select(COUNTERS.c.value))).scalar_one()


async def increment(database):
    """Add one under guard; whoever is second reads again."""
    for _ in range(TRIES_MAX):
        try:
            async with database.write() as connection:
                value = (await connection.execute(select(COUNTERS.c.value))).scalar_one()
                change = update(COUNTERS).where(COUNTERS.c.value == value)
                await guarded(connection, change.values(value=value + 1), "counter")
                return
        except Conflict:
            continue
    raise AssertionError("never first")


async def count(url):
    database = Database(url, ROOT)
    for _ in range(INCREMENTS):
        await increment(database)
    await database.close()


async def test_three_processes_count_to_900_together(database_url):
    database = await a_database(database_url)
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.common.test_database", database_url, cwd=ROOT
        )
        for _ in range(PROCESSES)
    ]
    codes = await asyncio.wait_for(
        asyncio.gather(*(process.wait() for process in processes)), TIMEOUT_S
    )
    assert codes == [0] * PROCESSES
    assert await value_of(database) == PROCESSES * INCREMENTS
    await database.close()


async def test_tasks_of_one_process_count_together(database_url):
    database = await a_database(database_url)
    await asyncio.gather(*(increment(database) for _ in range(40)))
    assert await value_of(database) == 40
    await database.close()


async def test_block_that_raises_leaves_nothing_and_wakes_nobody(database_url):
    database = await a_database(database_url)
    woken = []
    database.on_commit(lambda: woken.append(1))
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.execute(update(COUNTERS).values(value=7))
            await connection.execute(COUNTERS.insert().values(id=1, value=0))
    assert await value_of(database) == 0
    assert woken == []
    await increment(database)
    assert woken == [1]
    await database.close()


async def test_guard_that_no_longer_holds_is_a_conflict(database_url):
    database = await a_database(database_url)
    with pytest.raises(Conflict) as caught:
        async with database.write() as connection:
            change = update(COUNTERS).where(COUNTERS.c.value == 5).values(value=6)
            await guarded(connection, change, "counters/1")
    assert caught.value.metadata == {"resource": "counters/1"}
    await database.close()


if __name__ == "__main__":
    asyncio.run(count(sys.argv[1]))
