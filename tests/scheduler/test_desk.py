"""What people see of jobs."""

import asyncio
from uuid import uuid4

import pytest
from attune.scheduler.v1 import scheduler_pb2

from services.common.errors import FailedPrecondition, NotFound, Unavailable
from services.scheduler.node import LIVE_S
from services.scheduler.placement import NO_TRAINER
from tests.scheduler.factories import TERMS, a_cancel, a_finish, a_node

Job = scheduler_pb2.Job


async def next_of(stream):
    """Return the stream's next message, sooner than a fallback look would bring it."""
    return await asyncio.wait_for(anext(stream), 1.5)


async def test_watch_shows_the_present_then_every_change_then_ends(local):
    job = await local.add_job()
    stream = local.desk.watch(job.name)
    first = await next_of(stream)
    assert (first.state, first.state_reason) == (Job.STATE_QUEUED, NO_TRAINER)
    lease = await local.dispatcher.lease(a_node(), 0)
    assert (await next_of(stream)).state == Job.STATE_RUNNING
    await local.dispatcher.finish(a_finish(lease.job.run, 1))
    last = await next_of(stream)
    assert last.state == Job.STATE_SUCCEEDED
    assert last.result.lora_rank == 16
    with pytest.raises(StopAsyncIteration):
        await next_of(stream)


async def test_watch_of_an_ended_job_is_one_message(local):
    job = await local.add_job()
    await local.desk.cancel(a_cancel(job.name))
    assert [each.state async for each in local.desk.watch(job.name)] == [Job.STATE_CANCELLED]


async def test_watch_shows_nothing_twice(local):
    job = await local.add_job()
    stream = local.desk.watch(job.name)
    await next_of(stream)
    waiting = asyncio.create_task(next_of(stream))
    await local.add_job(2)  # A commit that does not concern the watched job.
    await asyncio.sleep(0)
    await local.desk.cancel(a_cancel(job.name))
    assert (await waiting).state == Job.STATE_CANCELLED


async def test_watch_of_an_unknown_job_is_refused(local):
    with pytest.raises(NotFound):
        await anext(local.desk.watch("projects/default/jobs/none"))


async def test_watch_is_let_go_when_the_service_stops(local):
    job = await local.add_job()
    stream = local.desk.watch(job.name)
    await next_of(stream)
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    local.changes.close()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(waiting, 10)


async def test_queued_job_says_that_it_waits_for_a_busy_trainer(local):
    job = await local.add_job()
    await local.dispatcher.lease(a_node(free=0), 0)
    assert (
        await local.desk.get(job.name)
    ).state_reason == "Waits for node-a to finish what it runs."


async def test_requeued_job_says_why_as_well(local):
    job = await local.add_job()
    await local.dispatcher.lease(a_node(), 0)
    local.clock.advance(TERMS.lease_s + LIVE_S)
    await local.sweep.sweep()
    answer = await local.desk.get(job.name)
    assert "not heard of in time" in answer.state_reason
    assert answer.state_reason.endswith(NO_TRAINER)
    assert answer.wait_reason == NO_TRAINER


async def test_watcher_hears_of_what_moves_by_itself_only_once_in_a_while(local, monkeypatch):
    """Estimates and costs move with time; a change of anything else is told at once."""
    monkeypatch.setattr("services.scheduler.desk.FALLBACK_S", 0.01)
    job = await local.add_job()
    await local.dispatcher.lease(a_node(profile="l4-24gb", memory_gib=22), 0)
    stream = local.desk.watch(job.name)
    first = await next_of(stream)
    waiting = asyncio.create_task(next_of(stream))
    local.clock.advance(3600)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    monkeypatch.setattr("services.scheduler.desk.REFRESH_S", 0.0)
    assert (await waiting).cost_micro_usd > first.cost_micro_usd


async def test_cancel_of_a_queued_job_ends_it_at_once(local):
    job = await local.add_job()
    answer = await local.desk.cancel(a_cancel(job.name))
    assert answer.state == Job.STATE_CANCELLED
    assert answer.HasField("end_time")
    assert await local.dispatcher.lease(a_node(), 0) is None


async def test_cancel_of_a_running_job_reaches_the_trainer_with_its_renewal(local):
    job = await local.add_job()
    lease = await local.dispatcher.lease(a_node(), 0)
    assert (await local.desk.cancel(a_cancel(job.name))).state == Job.STATE_CANCELLING
    assert (await local.desk.cancel(a_cancel(job.name))).state == Job.STATE_CANCELLING
    renewed = await local.dispatcher.renew(lease.job.run, 1, None)
    assert renewed.state == "CANCELLING"


async def test_cancel_of_an_ended_job_is_refused_but_its_repeat_is_not(local):
    job = await local.add_job()
    lease = await local.dispatcher.lease(a_node(), 0)
    request = a_cancel(job.name, str(uuid4()))
    await local.desk.cancel(request)
    await local.dispatcher.finish(a_finish(lease.job.run, 1))
    assert (await local.desk.cancel(request)).state == Job.STATE_CANCELLING
    with pytest.raises(FailedPrecondition):
        await local.desk.cancel(a_cancel(job.name))
