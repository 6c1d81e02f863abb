import asyncio
import json
from uuid import uuid4

import pytest
from attune.events.v1 import events_pb2
from attune.scheduler.v1 import scheduler_pb2
from attune.scheduler.v1.scheduler_pb2_grpc import (
    SchedulerServiceServicer,
    add_SchedulerServiceServicer_to_server,
)
from google.protobuf.json_format import MessageToDict

from services.common.clock import SystemClock
from services.common.errors import Unavailable
from services.common.events import DEAD_LETTERS, Bus, subject_of
from services.common.peers import channel
from services.common.rpc import Server
from services.serving import peers, store
from services.serving.peers import Scheduler
from services.serving.registry.registration import Registration
from services.serving.registry.version_store import CONSUMER, VersionStore
from tests.serving.parts import WAIT_S, a_job


class Jobs(SchedulerServiceServicer):
    """Lists given jobs two by two and keeps what it was asked."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.requests = []

    async def ListJobs(self, request, context):  # The proto's name.
        self.requests.append(request)
        start = int(request.page_token or 0)
        more = str(start + 2) if start + 2 < len(self.jobs) else ""
        return scheduler_pb2.ListJobsResponse(
            jobs=self.jobs[start : start + 2], next_page_token=more
        )


@pytest.fixture
async def versions(database_url):
    database = store.new_database(database_url)
    await database.migrate()
    yield VersionStore(database, SystemClock())
    await database.close()


@pytest.fixture
async def scheduler():
    jobs, server = Jobs([]), Server("scheduler.attune")
    name = scheduler_pb2.DESCRIPTOR.services_by_name["SchedulerService"].full_name
    server.add(add_SchedulerServiceServicer_to_server, jobs, name)
    port = await server.start("127.0.0.1", 0)
    opened = channel(f"127.0.0.1:{port}")
    jobs.peer = Scheduler(opened)
    yield jobs
    await opened.close(None)
    await server.stop()


async def names(versions):
    return [item.job for item in await versions.list_page("default", "-", "", "", 100)]


async def publish(bus, job, event_id):
    data = MessageToDict(events_pb2.JobSucceeded(job=job), preserving_proto_field_name=True)
    body = {"id": event_id, "type": "attune.v1.job.succeeded", "subject": job.name, "data": data}
    subject = subject_of("default", "job.succeeded", job.name.rsplit("/", 1)[1])
    await bus.publish(subject, json.dumps(body).encode(), str(uuid4()))


async def test_an_event_that_comes_again_makes_one_version(nats_url, versions, scheduler):
    registration = Registration(versions, scheduler.peer)
    bus, handled = Bus(nats_url, "test"), asyncio.Queue()

    async def take(event):
        await registration.take_event(event)
        handled.put_nowait(event.id)

    consuming = asyncio.create_task(bus.consume(CONSUMER, "job.succeeded", take))
    job = a_job()
    async with asyncio.timeout(WAIT_S):
        for event_id in ("e1", "e1", "e2"):
            await publish(bus, job, event_id)
            assert await handled.get() == event_id
    assert await names(versions) == [job.name]
    consuming.cancel()
    await bus.close()


async def test_a_job_of_which_no_version_can_be_made_goes_to_the_dead_letters(
    nats_url, versions, scheduler
):
    bus = Bus(nats_url, "test")
    registration = Registration(versions, scheduler.peer)
    consuming = asyncio.create_task(bus.consume(CONSUMER, "job.succeeded", registration.take_event))
    await publish(bus, a_job("../../etc"), "e1")
    stream = await bus._stream()
    dead = await stream.subscribe("attune.dlq.>", stream=DEAD_LETTERS)
    message = await dead.next_msg(timeout=WAIT_S)
    assert "not a SHA-256" in message.headers["Attune-Reason"]
    assert await names(versions) == []
    consuming.cancel()
    await bus.close()


async def test_a_lost_event_is_made_up_for(versions, scheduler):
    scheduler.jobs = [a_job() for _ in range(5)]
    registration = Registration(versions, scheduler.peer)
    await registration.reconcile()
    await registration.reconcile()
    assert sorted(await names(versions)) == sorted(job.name for job in scheduler.jobs)
    request = scheduler.requests[0]
    assert (request.parent, request.state) == ("projects/-", scheduler_pb2.Job.STATE_SUCCEEDED)


async def test_one_bad_job_does_not_hide_the_others(versions, scheduler):
    scheduler.jobs = [a_job("bad"), a_job()]
    await Registration(versions, scheduler.peer).reconcile()
    assert await names(versions) == [scheduler.jobs[1].name]


async def test_the_list_of_jobs_has_a_bound(versions, scheduler, monkeypatch):
    scheduler.jobs = [a_job() for _ in range(6)]
    monkeypatch.setattr(peers, "PAGES_MAX", 2)
    await Registration(versions, scheduler.peer).reconcile()
    assert len(await names(versions)) == 4


async def test_a_scheduler_that_is_away_is_an_error_that_can_be_retried(versions):
    opened = channel("127.0.0.1:1")
    with pytest.raises(Unavailable):
        await Registration(versions, Scheduler(opened)).reconcile()
    await opened.close(None)
