"""Jobs in SQLite and in PostgreSQL: made once, changed under guard, told of once."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from services.common.errors import FailedPrecondition, InvalidArgument, NotFound
from services.scheduler import wire
from services.scheduler.approval import new_job
from services.scheduler.node import live_since
from services.scheduler.queue.entry import HALF_LIFE_S, Priority
from services.scheduler.row_store import METADATA, OUTBOX
from services.scheduler.state import State
from tests.scheduler.factories import (
    NOW,
    TERMS,
    a_cancel,
    a_job,
    a_node,
    a_result,
    a_spec,
    an_error,
)


async def events(scheduler):
    async with scheduler.database.read() as connection:
        rows = await connection.execute(select(OUTBOX.c.subject).order_by(OUTBOX.c.sequence))
        return [subject.split(".")[3] + "." + subject.split(".")[5] for (subject,) in rows]


def lease(job):
    return job.lease("node-a", "instance-1", TERMS.expire_time(NOW), NOW)


async def test_migrations_make_the_schema_that_the_store_uses(scheduler):
    def compare(connection):
        return compare_metadata(MigrationContext.configure(connection), METADATA)

    async with scheduler.database.read() as connection:
        assert await connection.run_sync(compare) == []


@pytest.mark.parametrize("state", State)
async def test_job_comes_back_as_it_went_in(scheduler, state):
    job = a_job(state=state)
    await scheduler.jobs.add(job, None)
    assert await scheduler.jobs.get(job.name) == job


async def test_unknown_job_is_not_found(scheduler):
    with pytest.raises(NotFound) as caught:
        await scheduler.jobs.get("projects/default/jobs/none")
    assert caught.value.metadata == {"job": "projects/default/jobs/none"}


async def test_same_revision_makes_one_job_from_many_events_at_once(scheduler):
    def another(number):
        return replace(a_job(), name=f"projects/default/jobs/a{number}")

    made = await asyncio.gather(
        *(scheduler.jobs.add(another(n), f"event-{n % 3}") for n in range(12)),
        *(scheduler.jobs.add(another(n), None) for n in range(12, 16)),
    )
    assert made.count(True) == 1
    assert len(await scheduler.jobs.list_page("-", limit=10)) == 1
    assert await events(scheduler) == ["job.queued"]
    assert await scheduler.jobs.has(a_job().spec, 1)


async def test_next_revision_makes_another_job(scheduler):
    await scheduler.add_job()
    spec = a_spec()
    spec.approval.revision = 2
    assert not await scheduler.jobs.has(spec.name, 2)
    assert await scheduler.jobs.add(new_job(spec, "a2", NOW), None)


async def test_event_that_was_taken_in_has_no_second_effect(scheduler):
    assert await scheduler.jobs.add(a_job(1), "event-1")
    assert not await scheduler.jobs.add(a_job(2), "event-1")


async def test_concurrent_changes_all_count(scheduler):
    job = lease(a_job())
    await scheduler.jobs.add(job, None)

    def lengthen(job):
        expire_time = job.lease_expire_time + timedelta(seconds=1)
        return job.renew(None, expire_time, NOW)

    await asyncio.gather(*(scheduler.jobs.change(job.name, lengthen) for _ in range(8)))
    after = await scheduler.jobs.get(job.name)
    assert after.lease_expire_time == job.lease_expire_time + timedelta(seconds=8)
    assert after.version == 9


async def test_refused_change_leaves_no_trace(scheduler):
    job = await scheduler.add_job()
    with pytest.raises(FailedPrecondition):
        await scheduler.jobs.change(job.name, lambda job: job.succeed(a_result(), NOW))
    assert await scheduler.jobs.get(job.name) == job
    assert await events(scheduler) == ["job.queued"]


async def test_each_change_commits_with_its_event(scheduler):
    job = await scheduler.add_job()
    for step in (
        lease,
        lambda job: job.lose(an_error(), NOW),
        lease,
        lambda job: job.cancel(NOW),
        lambda job: job.stop(NOW),
    ):
        await scheduler.jobs.change(job.name, step)
    assert await events(scheduler) == [
        "job.queued",
        "job.started",
        "job.queued",
        "job.started",
        "job.cancelled",
    ]


async def test_queued_job_is_leased_once_by_many(scheduler):
    job = await scheduler.add_job()
    node = a_node()
    await scheduler.nodes.put(node, NOW)

    def decide(job):
        return job.lease(node.id, node.instance, TERMS.expire_time(NOW), NOW)

    given = await asyncio.gather(
        *(scheduler.jobs.lease(job, node.instance, decide) for _ in range(8))
    )
    assert sum(each is not None for each in given) == 1
    assert (await scheduler.jobs.get(job.name)).attempt_count == 1
    assert await events(scheduler) == ["job.queued", "job.started"]


async def test_job_that_was_cancelled_after_it_was_read_is_not_leased(scheduler):
    job = await scheduler.add_job()
    node = a_node()
    await scheduler.nodes.put(node, NOW)
    await scheduler.jobs.change(job.name, lambda job: job.cancel(NOW))
    given = await scheduler.jobs.lease(
        job, node.instance, lambda job: job.lease(node.id, node.instance, NOW, NOW)
    )
    assert given is None
    assert (await scheduler.jobs.get(job.name)).attempt_count == 0


async def test_worker_that_was_replaced_gets_nothing(scheduler):
    job = await scheduler.add_job()
    old, new = a_node(), a_node()
    await scheduler.nodes.put(old, NOW)
    await scheduler.nodes.put(new, NOW)
    given = await scheduler.jobs.lease(
        job, old.instance, lambda job: job.lease(old.id, old.instance, NOW, NOW)
    )
    assert given is None
    assert (await scheduler.jobs.get(job.name)).state is State.QUEUED


async def test_cancel_answers_a_repeat_with_the_first_answer(scheduler):
    job = lease(a_job())
    await scheduler.jobs.add(job, None)
    request = a_cancel(job.name)

    def cancel():
        return scheduler.jobs.change_once(
            request, lambda job: job.cancel(NOW), wire.job_to_proto, NOW
        )

    answers = await asyncio.gather(*(cancel() for _ in range(5)))
    await scheduler.jobs.change(job.name, lambda job: job.stop(NOW))
    answers.append(await cancel())
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].state == wire.STATES[State.CANCELLING]


async def test_request_id_of_another_request_is_refused(scheduler):
    first, second = await scheduler.add_job(1), await scheduler.add_job(2)
    request = a_cancel(first.name)
    other = a_cancel(second.name, request.request_id)
    await scheduler.jobs.change_once(request, lambda job: job.cancel(NOW), wire.job_to_proto, NOW)
    with pytest.raises(InvalidArgument):
        await scheduler.jobs.change_once(other, lambda job: job.cancel(NOW), wire.job_to_proto, NOW)
    assert (await scheduler.jobs.get(second.name)).state is State.QUEUED


async def test_lists_are_newest_first_and_filtered(scheduler):
    jobs = [await scheduler.add_job(number) for number in range(1, 5)]
    await scheduler.jobs.change(jobs[1].name, lambda job: job.cancel(NOW))

    async def names(project="default", limit=10, **filters):
        found = await scheduler.jobs.list_page(project, limit=limit, **filters)
        return [[job.name for job in jobs].index(each.name) for each in found]

    assert await names() == [3, 2, 1, 0]
    assert await names("-", limit=2) == [3, 2]
    assert await names(before_id=jobs[2].name.rsplit("/", 1)[1]) == [1, 0]
    assert await names(state=State.CANCELLED) == [1]
    assert await names(spec=jobs[2].spec) == [2]
    assert await names("other") == []


async def test_queue_is_first_in_first_out(scheduler):
    for number in (3, 1, 2):
        await scheduler.add_job(number)
        scheduler.clock.advance(1)
    found = await scheduler.jobs.list_queued(10)
    assert [job.name[-1] for job in found] == ["3", "1", "2"]
    assert {(job.project, job.priority) for job in found} == {("default", Priority.NORMAL)}
    assert [job.name[-1] for job in await scheduler.jobs.list_queued(1)] == ["3"]


async def test_promises_are_kept_while_a_job_waits_and_no_longer(scheduler):
    first, second = await scheduler.add_job(1), await scheduler.add_job(2)
    await scheduler.jobs.change(second.name, lambda job: job.cancel(NOW))
    start = NOW + timedelta(minutes=5)
    promises = {first.name: (start, "node-a"), second.name: (start, "node-a")}
    await scheduler.jobs.promise(promises)
    (queued,) = await scheduler.jobs.list_queued(10)
    assert (queued.promised_start_time, queued.promised_node) == (start, "node-a")
    assert (await scheduler.jobs.get(second.name)).promised_start_time is None
    leased = await scheduler.jobs.change(first.name, lease)
    assert (leased.promised_start_time, leased.promised_node) == (None, "")


async def test_a_lease_that_ends_is_charged_to_its_project_once(scheduler):
    jobs = [await scheduler.add_job(number, project="team") for number in range(1, 5)]

    def take(job):
        return job.lease("n", "i", NOW, NOW, price_micro_usd_per_hour=3_600_000)

    for job in jobs:
        await scheduler.jobs.change(job.name, take)
    end = NOW + timedelta(seconds=30)
    ends = (
        scheduler.jobs.change(job.name, lambda job: job.succeed(a_result(), end)) for job in jobs
    )
    await asyncio.gather(*ends)
    used = (await scheduler.usage.read(end))["team"]
    assert (used.device_s, used.spent_micro_usd) == (120.0, 120_000)
    week = timedelta(seconds=HALF_LIFE_S)
    assert (await scheduler.usage.read(end + week))["team"].recent_s == pytest.approx(60.0)


async def test_leases_are_listed_by_node_and_by_time(scheduler):
    job = lease(a_job())
    await scheduler.jobs.add(job, None)
    await scheduler.add_job(2)
    end = job.lease_expire_time
    assert [each.name for each in await scheduler.jobs.list_leased(node="node-a")] == [job.name]
    assert await scheduler.jobs.list_leased(node="node-b") == []
    assert await scheduler.jobs.list_leased(expired_at=end - timedelta(seconds=1)) == []
    assert len(await scheduler.jobs.list_leased(expired_at=end)) == 1


async def test_node_is_live_while_it_is_heard_of_or_holds_a_lease(scheduler):
    await scheduler.nodes.put(a_node("node-a"), NOW)
    node = a_node("node-b")
    await scheduler.nodes.put(node, NOW)
    await scheduler.jobs.add(a_job().lease("node-a", "i", NOW + timedelta(seconds=100), NOW), None)

    async def live(seconds):
        now = NOW + timedelta(seconds=seconds)
        return [each.id for each in await scheduler.nodes.list_live(live_since(now), now)]

    assert await live(45) == ["node-a", "node-b"]
    assert await live(46) == ["node-a"]
    assert await live(101) == []
    node.free_slot_count = 7
    await scheduler.nodes.put(node, NOW + timedelta(seconds=50))
    assert await live(90) == ["node-a", "node-b"]
    assert (await scheduler.nodes.list_live(NOW, NOW))[-1].free_slot_count == 7


async def test_many_first_heartbeats_at_once_make_one_node(scheduler):
    node = a_node()
    await asyncio.gather(*(scheduler.nodes.put(node, NOW) for _ in range(5)))
    assert await scheduler.nodes.list_live(NOW, NOW) == [node]
