import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from attune.scheduler.v1 import scheduler_pb2

from services.common.database import Database, new_metadata
from services.common.errors import InvalidArgument
from services.common.idempotency import Requests, requests_table

METADATA = new_metadata()
TABLE = requests_table(METADATA)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
async def database(database_url):
    database = Database(database_url, Path())
    async with database.write() as connection:
        await connection.run_sync(METADATA.create_all)
    yield database
    await database.close()


def a_request(**changes: str) -> scheduler_pb2.CancelJobRequest:
    values = {"name": "projects/default/jobs/a1", "request_id": str(uuid4())}
    return scheduler_pb2.CancelJobRequest(**values | changes)


async def test_a_repeat_gets_the_first_answer(database):
    request, answer = a_request(), scheduler_pb2.Job(name="projects/default/jobs/a1")
    async with database.write() as connection:
        assert await Requests(TABLE).find(connection, request, scheduler_pb2.Job) is None
        await Requests(TABLE).keep(connection, request, answer, NOW)
    async with database.read() as connection:
        assert await Requests(TABLE).find(connection, request, scheduler_pb2.Job) == answer


async def test_ten_equal_requests_at_once_have_one_effect(database):
    request, effects = a_request(), []

    async def once() -> scheduler_pb2.Job:
        async with database.write() as connection:
            found = await Requests(TABLE).find(connection, request, scheduler_pb2.Job)
            if found is not None:
                return found
            effects.append(1)
            answer = scheduler_pb2.Job(name=f"projects/default/jobs/a{len(effects)}")
            await Requests(TABLE).keep(connection, request, answer, NOW)
            return answer

    answers = await asyncio.gather(*(once() for _ in range(10)))
    assert len(effects) == 1
    assert {answer.name for answer in answers} == {"projects/default/jobs/a1"}


async def test_the_same_id_for_another_request_is_refused(database):
    first = a_request()
    async with database.write() as connection:
        await Requests(TABLE).keep(connection, first, scheduler_pb2.Job(), NOW)
    second = a_request(name="projects/default/jobs/b2", request_id=first.request_id)
    async with database.read() as connection:
        with pytest.raises(InvalidArgument, match="used for another request"):
            await Requests(TABLE).find(connection, second, scheduler_pb2.Job)


async def test_an_answer_goes_with_its_mutation_when_that_rolls_back(database):
    request = a_request()
    with pytest.raises(KeyError):
        async with database.write() as connection:
            await Requests(TABLE).keep(connection, request, scheduler_pb2.Job(), NOW)
            raise KeyError
    async with database.read() as connection:
        assert await Requests(TABLE).find(connection, request, scheduler_pb2.Job) is None


async def test_an_id_that_is_no_uuid_is_refused(database):
    async with database.read() as connection:
        with pytest.raises(InvalidArgument, match="not a UUID"):
            await Requests(TABLE).find(connection, a_request(request_id="1"), scheduler_pb2.Job)
