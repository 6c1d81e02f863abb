"""Schedulers on real databases."""

from collections.abc import AsyncIterator

import pytest

from tests.scheduler.factories import Scheduler, a_scheduler, sqlite_url


@pytest.fixture
async def scheduler(database_url: str) -> AsyncIterator[Scheduler]:
    """A scheduler on each kind of database."""
    made = await a_scheduler(database_url)
    yield made
    await made.database.close()


@pytest.fixture
async def local(tmp_path) -> AsyncIterator[Scheduler]:
    """A scheduler on SQLite, for what no database decides."""
    made = await a_scheduler(sqlite_url(tmp_path))
    yield made
    await made.database.close()
