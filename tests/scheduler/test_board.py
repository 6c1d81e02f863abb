"""The queue on real databases: who gets what, who waits and why, and what two schedulers do."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from attune.scheduler.v1 import scheduler_pb2
from attune.scheduler.v1.scheduler_pb2 import PHASE_TRAIN, JobProgress
from attune.spec.v1.stage_pb2 import Method
from google.protobuf.duration_pb2 import Duration

from services.common.errors import FailedPrecondition, InvalidArgument
from services.scheduler.account import Share, Shares
from services.scheduler.board import ASKING_S, LARGE, pool_of
from services.scheduler.queue.entry import Quota
from services.scheduler.queue.schedule import PATIENCE
from services.scheduler.state import State
from tests.scheduler.factories import (
    TERMS,
    a_cancel,
    a_finish,
    a_node,
    a_pause,
    a_priority,
    a_resume,
    a_scheduler,
    sqlite_url,
)

Job = scheduler_pb2.Job
CARD = "l4-24gb"
LLAMA = "meta-llama/Llama-3.1-8B"


def a_card(node_id="card-a", **values):
    """Return a node that costs money."""
    return a_node(node_id, profile=CARD, memory_gib=22, **values)


async def state_of(scheduler, job):
    return (await scheduler.jobs.get(job.name)).state


async def lease(scheduler, node=None):
    return await scheduler.dispatcher.lease(node or a_node(), 0)


@pytest.fixture
async def limited(tmp_path):
    """Return a function that makes a scheduler with a quota for each project."""
    made = []

    async def make(**quota):
        shares = Shares({"*": Share(1.0, Quota(**quota))})
        made.append(await a_scheduler(sqlite_url(tmp_path), shares=shares))
        return made[-1]

    yield make
    for scheduler in made:
        await scheduler.database.close()


async def test_projects_take_turns_whoever_came_first(scheduler):
    for number in range(1, 5):
        await scheduler.add_job(number, project="first")
    scheduler.clock.advance(1)
    late = await scheduler.add_job(9, project="second")
    await lease(scheduler, a_node("node-a"))
    given = await lease(scheduler, a_node("node-b"))
    assert given.job.name == late.name


async def test_use_of_the_past_counts_after_a_restart(scheduler):
    await scheduler.add_job(1, project="had")
    given = await lease(scheduler)
    scheduler.clock.advance(600)
    await scheduler.dispatcher.finish(a_finish(given.job.run, 1))
    await scheduler.add_job(2, project="had")
    scheduler.clock.advance(1)
    new = await scheduler.add_job(3, project="had-not")
    assert (await lease(scheduler.restarted())).job.name == new.name


async def test_priority_ranks_within_the_project(local):
    for number in (1, 2, 3):
        job = await local.add_job(number)
        local.clock.advance(1)
    await local.desk.set_priority(a_priority(job.name, "HIGH"))
    assert (await lease(local)).job.name == job.name


async def test_priority_that_does_not_exist_is_refused(local):
    job = await local.add_job()
    request = a_priority(job.name, "HIGH")
    request.priority = 77
    with pytest.raises(InvalidArgument):
        await local.desk.set_priority(request)


async def test_a_job_says_position_reason_estimates_and_cost(local):
    jobs = [await local.add_job(number) for number in range(1, 4)]
    node = a_card(free=1)
    given = await lease(local, node)
    progress = JobProgress(phase=PHASE_TRAIN, remaining_duration=Duration(seconds=600))
    await local.dispatcher.renew(given.job.run, 1, progress)
    now = local.clock.now()
    second, third = [await local.desk.get(job.name) for job in jobs[1:]]
    assert (second.queue_position, third.queue_position) == (1, 2)
    assert second.wait_reason == "Waits for card-a to finish what it runs."
    assert second.state_reason == second.wait_reason
    assert not second.start_promised
    assert second.estimated_start_time.ToSeconds() == int(now.timestamp()) + 600
    assert third.estimated_start_time == second.estimated_end_time
    running = await local.desk.get(jobs[0].name)
    assert (running.queue_position, running.wait_reason) == (0, "")
    assert running.estimated_end_time == second.estimated_start_time
    local.clock.advance(3600)
    price = given.placement.profile.price_micro_usd_per_hour
    assert (await local.desk.get(jobs[0].name)).cost_micro_usd == price > 0


async def test_a_silent_node_is_not_counted_on(local):
    """A job goes to the node that asks, not to the better one that may be gone."""
    await local.nodes.put(a_card("gone"), local.clock.now())
    local.clock.advance(ASKING_S + 1)
    await local.add_job()
    assert (await lease(local, a_node())) is not None


async def test_what_was_given_is_not_given_again_before_the_node_speaks(local):
    await local.add_job(1)
    await local.add_job(2)
    node = a_node()
    assert await lease(local, node) is not None
    view = await local.board.look(fresh=True)
    assert view.start_on(node.id) is None


async def test_a_gang_takes_all_its_devices_at_once_and_pays_for_each(local):
    """Weights of 8 B parameters that all learn need several cards; an engine for gangs has them."""
    node = a_node("cluster", profile="a100-80gb", memory_gib=79, base_model=LLAMA, free=8)
    node.engines.append("ray")
    node.methods.append(Method.METHOD_FULL)
    for _ in range(7):
        node.devices.append(node.devices[0])
    first = await local.add_job(1, base_model=LLAMA, method=Method.METHOD_FULL)
    node.free_slot_count = 1
    assert await lease(local, node) is None
    node.free_slot_count = 8
    given = await lease(local, node)
    count = given.placement.device_count
    assert count > 1
    view = await local.board.look(fresh=True)
    (machine,) = view.snapshot.machines
    assert (machine.slots, machine.free) == (8, 8 - count)
    local.clock.advance(3600)
    job = await local.jobs.get(first.name)
    price = given.placement.profile.price_micro_usd_per_hour
    assert job.held_s(local.clock.now()) == 3600 * count
    assert job.cost_micro_usd(local.clock.now()) == price * count


async def test_nodes_that_offer_the_same_are_one_pool():
    assert pool_of(a_node("node-a", free=0)) == pool_of(a_node("node-b"))
    assert pool_of(a_node()) != pool_of(a_node(memory_gib=7))


async def test_pause_of_a_queued_job_keeps_it_from_starting_until_it_is_resumed(scheduler):
    job = await scheduler.add_job()
    paused = await scheduler.desk.pause(a_pause(job.name))
    assert (paused.state, paused.state_reason) == (Job.STATE_PAUSED, "Paused on request.")
    assert await lease(scheduler) is None
    assert (await scheduler.desk.resume(a_resume(job.name))).state == Job.STATE_QUEUED
    assert (await lease(scheduler)).job.name == job.name


async def test_pause_of_a_running_job_lets_go_of_its_node_at_a_checkpoint(scheduler):
    job, other = await scheduler.add_job(1), await scheduler.add_job(2)
    node = a_node()
    given = await lease(scheduler, node)
    assert (await scheduler.desk.pause(a_pause(job.name))).state == Job.STATE_PAUSING
    assert (await scheduler.dispatcher.renew(given.job.run, 1, None)).state is State.PAUSING
    halted = await scheduler.dispatcher.finish(a_finish(given.job.run, 1, "PAUSED"))
    assert (halted.state, halted.node, halted.loss_count) == (State.PAUSED, "", 0)
    assert (await lease(scheduler, node)).job.name == other.name
    await scheduler.desk.resume(a_resume(job.name))
    again = await lease(scheduler, a_node("node-b"))
    assert (again.job.name, again.job.attempt_count) == (job.name, 2)
    assert again.job.run == given.job.run


async def test_a_repeated_request_gets_the_first_answer(local):
    job = await local.add_job()
    request = a_pause(job.name, str(uuid4()))
    first = await local.desk.pause(request)
    await local.desk.resume(a_resume(job.name))
    assert await local.desk.pause(request) == first
    assert await state_of(local, job) is State.QUEUED


async def test_a_cancelled_job_can_neither_pause_nor_resume(local):
    job = await local.add_job()
    await local.desk.cancel(a_cancel(job.name))
    for change in (local.desk.pause(a_pause(job.name)), local.desk.resume(a_resume(job.name))):
        with pytest.raises(FailedPrecondition):
            await change


async def test_a_low_run_makes_room_and_comes_back_behind(scheduler):
    low, node = await scheduler.add_job(1, rows=200_000), a_node()
    await scheduler.desk.set_priority(a_priority(low.name, "LOW"))
    given = await lease(scheduler, node)
    high = await scheduler.add_job(2)
    assert await scheduler.steward.look() == 1
    assert await scheduler.steward.look() == 0
    asked = await scheduler.desk.get(low.name)
    assert asked.state == Job.STATE_YIELDING
    assert asked.state_reason.startswith(f"Makes room for {high.name}")
    back = await scheduler.dispatcher.finish(a_finish(given.job.run, 1, "PAUSED"))
    assert (back.state, back.yield_count) == (State.QUEUED, 1)
    assert (await lease(scheduler, node)).job.name == high.name


async def test_at_the_budget_runs_pause_and_are_not_killed(limited):
    scheduler = await limited(budget_micro_usd=1_000_000)
    job = await scheduler.add_job()
    given = await lease(scheduler, a_card())
    assert await scheduler.steward.look() == 0
    scheduler.clock.advance(3600 * 24)
    assert await scheduler.steward.look() == 1
    asked = await scheduler.desk.get(job.name)
    assert asked.state == Job.STATE_PAUSING
    assert "budget of $1.00 is spent" in asked.state_reason
    await scheduler.dispatcher.finish(a_finish(given.job.run, 1, "PAUSED"))
    resumed = await scheduler.desk.resume(a_resume(job.name))
    assert resumed.state == Job.STATE_QUEUED
    assert await lease(scheduler, a_card(instance=str(uuid4()))) is None
    assert "budget of $1.00" in (await scheduler.desk.get(job.name)).wait_reason


async def test_no_more_runs_than_the_quota_allows(limited):
    scheduler = await limited(running_jobs_max=1)
    for number in (1, 2):
        await scheduler.add_job(number)
    assert await lease(scheduler, a_node("node-a")) is not None
    assert await lease(scheduler, a_node("node-b")) is None


async def test_promises_are_written_and_outlive_the_scheduler(scheduler):
    running, waiting = await scheduler.add_job(1), await scheduler.add_job(2)
    given = await lease(scheduler)
    await scheduler.steward.look()
    assert (await scheduler.jobs.get(waiting.name)).promised_start_time is None
    scheduler.clock.advance(PATIENCE * given.job.expected_s)
    progress = JobProgress(phase=PHASE_TRAIN, remaining_duration=Duration(seconds=600))
    await scheduler.dispatcher.renew(given.job.run, 1, progress)
    await scheduler.steward.look()
    promised = await scheduler.jobs.get(waiting.name)
    expected = scheduler.clock.now() + timedelta(seconds=600)
    assert promised.promised_start_time == expected
    assert (await scheduler.desk.get(waiting.name)).start_promised
    assert promised.promised_node == "node-a"
    version = promised.version
    await scheduler.restarted().steward.look()
    assert (await scheduler.jobs.get(waiting.name)).version == version
    assert running.name != waiting.name


async def test_two_schedulers_give_every_job_once(database_url):
    """Each has its own connections and its own view; the rows decide."""
    first = await a_scheduler(database_url)
    second = await a_scheduler(database_url, first.clock)
    try:
        jobs = [await first.add_job(number, project=f"p{number % 3}") for number in range(1, 21)]
        given = []
        for _ in range(4):
            nodes = [a_node(f"node-{number}-{uuid4().hex[:6]}") for number in range(8)]
            asked = [
                (first if index % 2 else second).dispatcher.lease(node, 0)
                for index, node in enumerate(nodes)
            ]
            given += [one.job.name for one in await asyncio.gather(*asked) if one is not None]
        assert len(given) == len(set(given))
        for job in jobs:
            after = await second.jobs.get(job.name)
            assert after.attempt_count == given.count(job.name)
            assert (after.state is State.RUNNING) == (job.name in given)
        assert len(given) == 20
    finally:
        await first.database.close()
        await second.database.close()


@pytest.mark.parametrize("writes", range(3))
async def test_a_scheduler_that_dies_in_a_pass_loses_and_doubles_nothing(
    scheduler, monkeypatch, writes
):
    """It dies before its first, its second or its third write; another one goes on."""
    low = [await scheduler.add_job(number, rows=200_000) for number in (1, 2)]
    for job in low:
        await scheduler.desk.set_priority(a_priority(job.name, "LOW"))
    nodes = [a_node("node-a"), a_node("node-b")]
    given = [await lease(scheduler, node) for node in nodes]
    high = [await scheduler.add_job(number) for number in (3, 4)]
    dying, done = scheduler.restarted(), 0

    def dies_after(write):
        async def dying_write(*args):
            nonlocal done
            if done == writes:
                raise ConnectionError("It is dead.")
            done += 1
            return await write(*args)

        return dying_write

    for name in ("promise", "change"):
        monkeypatch.setattr(dying.jobs, name, dies_after(getattr(dying.jobs, name)))
    if writes < 2:
        with pytest.raises(ConnectionError):
            await dying.steward.look()
    after = scheduler.restarted()
    await after.steward.look()
    for job in low:
        assert await state_of(after, job) is State.YIELDING
    for one in given:
        await after.dispatcher.finish(a_finish(one.job.run, 1, "PAUSED"))
    again = {(await lease(after, node)).job.name for node in nodes}
    assert again == {job.name for job in high}
    used = (await after.usage.read(after.clock.now()))["default"]
    total = sum([(await after.jobs.get(job.name)).device_s for job in low])
    assert used.device_s == pytest.approx(total)


async def test_a_large_queue_is_placed_over_several_looks(local, monkeypatch):
    monkeypatch.setattr("services.scheduler.board.PLACED_MAX", 3)
    for number in range(1, 9):
        await local.add_job(number)
    left = [(await local.board.look()).unplaced for _ in range(4)]
    assert left == [5, 2, 0, 0]
    assert LARGE > 8


async def test_node_that_died_and_came_back_does_not_double_a_lease(scheduler):
    await scheduler.add_job()
    given = await lease(scheduler)
    scheduler.clock.advance(TERMS.lease_s)
    await scheduler.sweep.sweep()
    again = await lease(scheduler, a_node("node-b"))
    assert again.job.attempt_count == given.job.attempt_count + 1
