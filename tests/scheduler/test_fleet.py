"""What operators see: profiles and nodes, page by page, through real gRPC."""

from types import SimpleNamespace

import pytest
from attune.scheduler.v1 import fleet_pb2, scheduler_pb2, scheduler_pb2_grpc
from attune.spec.v1.compute_pb2 import ParallelPlan
from attune.spec.v1.stage_pb2 import Method, Technique

from services.common import peers, rpc
from services.common.errors import InvalidArgument
from services.scheduler.node import LIVE_S
from services.scheduler.servicer import SchedulerServicer
from tests.scheduler.factories import CATALOGUE, GIB, NOW, STARTER, TERMS, a_node


@pytest.fixture
async def remote(scheduler):
    """The stub of a scheduler that listens on a port of its own, on each kind of database."""
    server = rpc.Server("scheduler.attune")
    server.add(
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
        SchedulerServicer(scheduler.desk),
        scheduler_pb2.DESCRIPTOR.services_by_name["SchedulerService"].full_name,
    )
    channel = peers.channel(f"127.0.0.1:{await server.start('127.0.0.1', 0)}")
    yield SimpleNamespace(
        stub=scheduler_pb2_grpc.SchedulerServiceStub(channel), scheduler=scheduler
    )
    await channel.close(None)
    await server.stop()


async def profiles(remote, **fields):
    request = fleet_pb2.ListComputeProfilesRequest(**fields)
    return await peers.call(remote.stub.ListComputeProfiles, request)


async def nodes(remote, **fields):
    return await peers.call(remote.stub.ListNodes, fleet_pb2.ListNodesRequest(**fields))


async def test_every_profile_comes_once_by_id_with_its_figures(remote):
    found, token = [], ""
    while True:
        page = await profiles(remote, page_size=4, page_token=token)
        assert len(page.profiles) <= 4
        found += page.profiles
        token = page.next_page_token
        if not token:
            break
    assert [one.id for one in found] == sorted(CATALOGUE.profiles)
    for one in found:
        known = CATALOGUE.profiles[one.id]
        assert (one.memory_bytes, one.flops_per_s) == (known.memory_bytes, known.flops_per_s)
        assert (one.interconnect, one.node_count) == (known.interconnect, known.node_count)
        assert one.price_micro_usd_per_hour == known.price_micro_usd_per_hour
        assert one.price_date == (known.price_date.isoformat() if known.price_date else "")
    half = next(one for one in found if one.id == "t4-16gb")
    assert half.precision == ParallelPlan.PRECISION_FLOAT16


async def test_a_profile_is_live_while_a_live_node_has_it(remote):
    await remote.scheduler.nodes.put(a_node(profile="l4-24gb", memory_gib=22), NOW)
    found = (await profiles(remote)).profiles
    assert [one.id for one in found if one.live] == ["l4-24gb"]
    remote.scheduler.clock.advance(LIVE_S + 1)
    assert not any(one.live for one in (await profiles(remote)).profiles)


async def test_a_node_says_what_it_has_and_when_it_was_heard_of(remote):
    await remote.scheduler.nodes.put(a_node(memory_gib=6, free=2), NOW)
    (found,) = (await nodes(remote)).nodes
    assert (found.id, found.live, found.free_slot_count, found.core_count) == ("node-a", True, 2, 1)
    assert found.heartbeat_time.ToDatetime(NOW.tzinfo) == NOW
    assert [(one.profile, one.memory_bytes) for one in found.devices] == [("cpu", 6 * GIB)]
    assert list(found.base_models) == [STARTER]
    assert list(found.techniques) == [Technique.TECHNIQUE_SFT]
    assert list(found.methods) == [Method.METHOD_LORA]


async def test_a_silent_node_stays_listed_without_free_slots(remote):
    await remote.scheduler.nodes.put(a_node(), NOW)
    remote.scheduler.clock.advance(LIVE_S + 1)
    (found,) = (await nodes(remote)).nodes
    assert (found.live, found.free_slot_count) == (False, 0)


async def test_a_silent_node_that_holds_a_lease_is_live(remote):
    await remote.scheduler.add_job()
    assert await remote.scheduler.dispatcher.lease(a_node(), 0)
    remote.scheduler.clock.advance(TERMS.lease_s - 1)
    assert [one.live for one in (await nodes(remote)).nodes] == [True]


async def test_pages_of_nodes_hold_each_once_by_id(remote):
    for name in ("node-b", "node-c", "node-a"):
        await remote.scheduler.nodes.put(a_node(name), NOW)
    first = await nodes(remote, page_size=2)
    second = await nodes(remote, page_size=2, page_token=first.next_page_token)
    names = [one.id for one in (*first.nodes, *second.nodes)]
    assert names == ["node-a", "node-b", "node-c"]
    assert second.next_page_token == ""


@pytest.mark.parametrize("ask", [profiles, nodes])
@pytest.mark.parametrize("bad", [{"page_size": -1}, {"page_token": "!"}], ids=str)
async def test_a_bad_page_is_refused_by_field(remote, ask, bad):
    with pytest.raises(InvalidArgument) as caught:
        await ask(remote, **bad)
    assert [violation.field for violation in caught.value.violations] == list(bad)


async def test_a_token_of_one_list_serves_no_other(remote):
    token = (await profiles(remote, page_size=1)).next_page_token
    with pytest.raises(InvalidArgument):
        await nodes(remote, page_token=token)
