"""Leases given, kept, lost and handed back, on both databases."""

import asyncio

import pytest
from attune.scheduler.v1.scheduler_pb2 import PHASE_TRAIN, JobProgress
from attune.spec.v1.stage_pb2 import Technique

from services.common.errors import FailedPrecondition, InvalidArgument
from services.scheduler.state import State
from tests.scheduler.factories import TERMS, a_cancel, a_finish, a_node, an_error

WAIT_S = 20.0
RACES = 20


async def state_of(scheduler, job):
    return (await scheduler.jobs.get(job.name)).state


async def test_oldest_job_that_fits_is_leased_with_its_place(scheduler):
    await scheduler.add_job(1, base_model="Qwen/Qwen3-8B")
    scheduler.clock.advance(1)
    oldest = await scheduler.add_job(2)
    scheduler.clock.advance(1)
    await scheduler.add_job(3)
    lease = await scheduler.dispatcher.lease(a_node(), 0)
    assert lease.job.name == oldest.name
    assert (lease.job.state, lease.job.attempt_count) == (State.RUNNING, 1)
    assert lease.job.lease_expire_time == TERMS.expire_time(scheduler.clock.now())
    assert lease.placement.profile.id == "cpu"
    assert lease.placement.capacity_bytes == a_node().devices[0].memory_bytes


@pytest.mark.parametrize(
    "node",
    [a_node(free=0), a_node(memory_gib=0.5), a_node(base_model="Qwen/Qwen3-8B")],
    ids=["busy", "small", "other model"],
)
async def test_node_that_does_not_fit_gets_nothing(local, node):
    await local.add_job()
    assert await local.dispatcher.lease(node, 0) is None


async def test_job_that_does_not_fit_lets_the_next_ones_pass(local):
    await local.add_job(1, technique=Technique.TECHNIQUE_DPO)
    second = await local.add_job(2)
    lease = await local.dispatcher.lease(a_node(), 0)
    assert lease.job.name == second.name


async def test_bad_node_is_refused(local):
    with pytest.raises(InvalidArgument):
        await local.dispatcher.lease(a_node("Bad"), 0)


async def test_waiting_node_is_woken_by_the_commit_of_a_job(local):
    registered = local.changes.next()
    waiting = asyncio.create_task(local.dispatcher.lease(a_node(), WAIT_S))
    await asyncio.wait_for(registered.wait(), 10)
    job = await local.add_job()
    # Were it not woken, the fallback look would come later than this.
    lease = await asyncio.wait_for(waiting, 1.5)
    assert lease.job.name == job.name


async def test_waiting_node_is_let_go_when_the_service_stops(local):
    waiting = asyncio.create_task(local.dispatcher.lease(a_node(), WAIT_S))
    await asyncio.sleep(0)
    local.changes.close()
    assert await asyncio.wait_for(waiting, 10) is None


async def test_many_nodes_share_jobs_without_sharing_one(scheduler):
    jobs = [await scheduler.add_job(number) for number in range(1, 5)]
    nodes = [a_node(f"node-{number}") for number in range(6)]
    leases = await asyncio.gather(*(scheduler.dispatcher.lease(node, 0) for node in nodes))
    given = [lease.job.name for lease in leases if lease is not None]
    assert len(given) == len(set(given))
    for job in jobs:
        leased = await scheduler.jobs.get(job.name)
        assert leased.attempt_count == (job.name in given)


async def test_stale_holder_changes_nothing(scheduler):
    """A leases, its lease expires, B leases: A's writes are refused and leave no trace."""
    await scheduler.add_job()
    first = await scheduler.dispatcher.lease(a_node("node-a"), 0)
    scheduler.clock.advance(TERMS.lease_s)
    assert await scheduler.sweep.sweep() == 1
    second = await scheduler.dispatcher.lease(a_node("node-b"), 0)
    assert (first.job.attempt_count, second.job.attempt_count) == (1, 2)
    assert first.job.run == second.job.run
    run, before = first.job.run, await scheduler.jobs.get(first.job.name)
    for write in (
        lambda: scheduler.dispatcher.renew(run, 1, JobProgress(phase=PHASE_TRAIN)),
        lambda: scheduler.dispatcher.finish(a_finish(run, 1)),
        lambda: scheduler.dispatcher.finish(a_finish(run, 1, "FAILED")),
        lambda: scheduler.dispatcher.finish(a_finish(run, 1, "LOST")),
    ):
        with pytest.raises(FailedPrecondition) as caught:
            await write()
        assert caught.value.reason == "LEASE_LOST"
    assert await scheduler.jobs.get(first.job.name) == before
    done = await scheduler.dispatcher.finish(a_finish(run, 2))
    assert done.state is State.SUCCEEDED


async def test_renewal_extends_and_reports(scheduler):
    await scheduler.add_job()
    lease = await scheduler.dispatcher.lease(a_node(), 0)
    scheduler.clock.advance(10)
    progress = JobProgress(phase=PHASE_TRAIN, done_count=3, total_count=9, loss=1.5)
    job = await scheduler.dispatcher.renew(lease.job.run, 1, progress)
    assert job.lease_expire_time == TERMS.expire_time(scheduler.clock.now())
    assert job.progress == progress
    scheduler.clock.advance(TERMS.lease_s - 1)
    assert await scheduler.sweep.sweep() == 0


@pytest.mark.parametrize(
    ("outcome", "state"),
    [("SUCCEEDED", State.SUCCEEDED), ("FAILED", State.FAILED), ("LOST", State.QUEUED)],
)
async def test_finish_takes_the_outcome_once(local, outcome, state):
    await local.add_job()
    lease = await local.dispatcher.lease(a_node(), 0)
    request = a_finish(lease.job.run, 1, outcome)
    first = await local.dispatcher.finish(request)
    local.clock.advance(1)
    assert first.state is state
    assert await local.dispatcher.finish(request) == first


async def test_failed_job_carries_the_error(local):
    await local.add_job()
    lease = await local.dispatcher.lease(a_node(), 0)
    job = await local.dispatcher.finish(a_finish(lease.job.run, 1, "FAILED"))
    assert job.error == an_error()


async def test_cancelled_outcome_needs_a_request_to_stop(local):
    await local.add_job()
    lease = await local.dispatcher.lease(a_node(), 0)
    request = a_finish(lease.job.run, 1, "CANCELLED")
    with pytest.raises(FailedPrecondition):
        await local.dispatcher.finish(request)
    await local.desk.cancel(a_cancel(lease.job.name))
    assert (await local.dispatcher.finish(request)).state is State.CANCELLED


async def test_run_of_a_job_that_is_not_known_has_lost_its_lease(local):
    with pytest.raises(FailedPrecondition) as caught:
        await local.dispatcher.renew("projects/default/runs/a1-s0", 1, None)
    assert caught.value.reason == "LEASE_LOST"


async def test_restarted_worker_gives_its_old_runs_back_at_once(scheduler):
    await scheduler.add_job()
    first = await scheduler.dispatcher.lease(a_node(), 0)
    again = await scheduler.dispatcher.lease(a_node(), 0)
    assert again.job.name == first.job.name
    assert again.job.attempt_count == 2
    with pytest.raises(FailedPrecondition):
        await scheduler.dispatcher.renew(first.job.run, 1, None)


async def test_second_poll_of_the_same_worker_takes_nothing_back(local):
    job = await local.add_job()
    node = a_node()
    await local.dispatcher.lease(node, 0)
    assert await local.dispatcher.lease(node, 0) is None
    assert await state_of(local, job) is State.RUNNING


async def test_lease_that_is_not_renewed_is_queued_again_with_the_reason(scheduler):
    job = await scheduler.add_job()
    await scheduler.dispatcher.lease(a_node(), 0)
    scheduler.clock.advance(TERMS.lease_s - 0.001)
    assert await scheduler.sweep.sweep() == 0
    scheduler.clock.advance(0.001)
    assert await scheduler.sweep.sweep() == 1
    after = await scheduler.jobs.get(job.name)
    assert after.state is State.QUEUED
    assert "node-a was not heard of" in after.state_reason
    assert await scheduler.sweep.sweep() == 0


async def test_lease_that_expires_while_cancelling_ends_cancelled(local):
    job = await local.add_job()
    await local.dispatcher.lease(a_node(), 0)
    await local.desk.cancel(a_cancel(job.name))
    local.clock.advance(TERMS.lease_s)
    await local.sweep.sweep()
    assert await state_of(local, job) is State.CANCELLED


async def test_restarted_scheduler_waits_one_lease_before_it_expires_any(scheduler):
    job = await scheduler.add_job()
    lease = await scheduler.dispatcher.lease(a_node(), 0)
    scheduler.clock.advance(10 * TERMS.lease_s)
    restarted = scheduler.restarted()
    scheduler.clock.advance(TERMS.lease_s - 1)
    assert await restarted.sweep.sweep() == 0
    await restarted.dispatcher.renew(lease.job.run, 1, None)
    scheduler.clock.advance(1)
    assert await restarted.sweep.sweep() == 0
    scheduler.clock.advance(TERMS.lease_s)
    assert await restarted.sweep.sweep() == 1
    assert await state_of(scheduler, job) is State.QUEUED


async def test_cancelled_job_is_never_leased(scheduler):
    """Cancel and lease race, each first in turn: it ran and stops, or it never starts."""
    node = a_node()
    await scheduler.nodes.put(node, scheduler.clock.now())

    def take(job):
        now = scheduler.clock.now()
        return job.lease(node.id, node.instance, TERMS.expire_time(now), now)

    outcomes = set()
    for number in range(RACES):
        job = await scheduler.add_job(number)
        calls = [
            scheduler.jobs.lease(job, node.instance, take),
            scheduler.desk.cancel(a_cancel(job.name)),
        ]
        await asyncio.gather(*(calls if number % 2 else calls[::-1]))
        after = await scheduler.jobs.get(job.name)
        outcomes.add((after.state, after.attempt_count))
    assert outcomes <= {(State.CANCELLED, 0), (State.CANCELLING, 1)}
    assert (await scheduler.dispatcher.lease(node, 0)) is None
