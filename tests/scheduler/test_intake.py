"""Jobs from approved specs: by event through a real NATS, and by comparison with the planner."""

import asyncio
import json
from uuid import uuid4

import nats
import pytest
from attune.events.v1.events_pb2 import JobQueued, SpecApproved
from attune.planner.v1 import planner_pb2, planner_pb2_grpc
from google.protobuf.json_format import MessageToDict
from sqlalchemy import func, select

from services.common import peers, rpc
from services.common.clock import SystemClock
from services.common.errors import Unavailable
from services.common.events import (
    DEAD_LETTERS,
    Bus,
    Event,
    PoisonedEvent,
    read_event,
    subject_of,
)
from services.common.names import last_part
from services.common.outbox import Relay
from services.scheduler.intake import Intake
from services.scheduler.peers import PlannerPeer
from services.scheduler.store import CONSUMER, JOBS, OUTBOX
from tests.scheduler.factories import FakeClock, a_spec
from tests.servers import free_port

TIMEOUT_S = 20


class Planner(planner_pb2_grpc.PlannerServiceServicer):
    """Lists specs as the planner does."""

    def __init__(self, specs):
        self.specs = specs
        self.requests = []

    async def ListSpecs(self, request, context):
        self.requests.append(request)
        start = int(request.page_token or 0)
        end = start + 2
        token = str(end) if end < len(self.specs) else ""
        return planner_pb2.ListSpecsResponse(specs=self.specs[start:end], next_page_token=token)


@pytest.fixture
async def planner():
    """A planner with its peer."""
    servicer, server = Planner([]), rpc.Server("planner.attune")
    register = planner_pb2_grpc.add_PlannerServiceServicer_to_server
    server.add(register, servicer, "attune.planner.v1.PlannerService")
    port = await server.start("127.0.0.1", 0)
    channel = peers.channel(f"127.0.0.1:{port}")
    servicer.peer = PlannerPeer(channel)
    yield servicer
    await channel.close(None)
    await server.stop()


def an_event(spec, event_id="event-1"):
    data = MessageToDict(SpecApproved(spec=spec), preserving_proto_field_name=True)
    return Event(event_id, "attune.v1.spec.approved", spec.name, data)


async def count_jobs(scheduler):
    async with scheduler.database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(JOBS))).scalar_one()


async def test_event_makes_a_job_that_carries_the_approved_spec(local, planner):
    await Intake(local.jobs, planner.peer, FakeClock()).take_event(an_event(a_spec()))
    (job,) = await local.jobs.list_page("default", limit=5)
    assert job.approved_spec == a_spec()
    assert (job.spec, job.spec_revision) == ("projects/default/specs/s1", 1)


async def test_same_approval_by_event_and_by_list_makes_one_job(local, planner):
    planner.specs = [a_spec(number) for number in range(1, 6)]
    intake = Intake(local.jobs, planner.peer, FakeClock())
    deliveries = [
        intake.take_event(an_event(spec, f"event-{spec.name}-{repeat % 2}"))
        for spec in planner.specs
        for repeat in range(3)
    ]
    await asyncio.gather(*deliveries, intake.reconcile(), intake.reconcile())
    assert await count_jobs(local) == 5


async def test_lost_event_is_made_up_for_page_by_page(local, planner):
    planner.specs = [a_spec(number) for number in range(1, 6)]
    intake = Intake(local.jobs, planner.peer, FakeClock())
    await intake.take_event(an_event(a_spec(3)))
    assert await intake.reconcile() == 4
    assert await intake.reconcile() == 0
    first = planner.requests[0]
    assert (first.parent, first.state) == ("projects/-", 2)
    assert len(planner.requests) == 6


async def test_spec_that_cannot_become_a_job_does_not_hold_up_the_others(local, planner):
    bad = a_spec(1)
    bad.approval.hash = "0" * 64
    planner.specs = [bad, a_spec(2)]
    assert await Intake(local.jobs, planner.peer, FakeClock()).reconcile() == 1
    with pytest.raises(PoisonedEvent):
        await Intake(local.jobs, planner.peer, FakeClock()).take_event(an_event(bad))


async def test_planner_that_is_away_is_said(local):
    channel = peers.channel(f"127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable):
        await Intake(local.jobs, PlannerPeer(channel), FakeClock()).reconcile()
    await channel.close(None)


async def publish(url, events):
    """Put events on the stream; each delivery has its own message id, so that none is dropped."""
    bus = Bus(url, "test")
    for event in events:
        body = {"id": event.id, "type": event.type, "subject": event.resource, "data": event.data}
        subject = subject_of("default", "spec.approved", last_part(event.resource))
        await bus.publish(subject, json.dumps(body).encode(), str(uuid4()))
    await bus.close()


async def test_redelivered_events_on_nats_make_one_job_each_and_tell_of_it(
    local, planner, nats_url
):
    bad = a_spec(9)
    bad.approval.hash = "0" * 64
    events = [an_event(a_spec(n), f"event-{n}") for n in (1, 2, 1, 1, 2)]
    await publish(nats_url, [an_event(bad, "bad"), *events, an_event(a_spec(3), "event-3")])
    bus, clock = Bus(nats_url, "scheduler"), SystemClock()
    intake = Intake(local.jobs, planner.peer, clock)
    client = await nats.connect(nats_url)
    heard = await client.jetstream().subscribe("attune.v1.default.job.*.queued")
    buried = await client.jetstream().subscribe("attune.dlq.>", stream=DEAD_LETTERS)
    tasks = [
        asyncio.create_task(bus.consume(CONSUMER, "spec.approved", intake.take_event)),
        asyncio.create_task(Relay(local.database, OUTBOX, bus, clock).run()),
    ]
    told = [read_event((await heard.next_msg(TIMEOUT_S)).data) for _ in range(3)]
    specs = {event.parse(JobQueued()).job.spec.rsplit("/", 1)[1] for event in told}
    assert specs == {"s1", "s2", "s3"}
    assert await count_jobs(local) == 3
    assert "spec.s9" in (await buried.next_msg(TIMEOUT_S)).subject
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
    await bus.close()
