"""Jobs of several stages: each with its own lease and attempts, one after another."""

from datetime import timedelta

import pytest
from attune.scheduler.v1 import scheduler_pb2
from attune.spec.v1.evaluation_pb2 import EvaluationReport
from attune.spec.v1.stage_pb2 import Technique

from services.common.errors import FailedPrecondition
from services.scheduler import wire
from services.scheduler.approval import new_job
from services.scheduler.chain import after_stage, base_adapter_sha256
from services.scheduler.failed_layout import FailedLayout
from services.scheduler.state import State
from tests.scheduler.factories import (
    NOW,
    TERMS,
    a_cancel,
    a_finish,
    a_node,
    a_pause,
    a_result,
    a_resume,
    a_spec,
    an_error,
)

LATER = NOW + timedelta(seconds=5)
SFT, DPO = "1" * 64, "2" * 64
BOTH = (Technique.TECHNIQUE_SFT, Technique.TECHNIQUE_DPO)


def a_chain(*techniques):
    """Return a leased job with a stage of each technique."""
    spec = a_spec(stages=len(techniques))
    for stage, technique in zip(spec.stages, techniques, strict=True):
        stage.technique = technique
    return leased(new_job(spec, "c1", NOW))


def leased(job):
    return job.lease("node-a", "instance-1", TERMS.expire_time(NOW), NOW)


def a_node_for_both(name="node-a"):
    node = a_node(name)
    node.techniques.append(Technique.TECHNIQUE_DPO)
    return node


async def add_chain(scheduler):
    job = await scheduler.add_job(1, stages=2)

    def second_is_dpo(job):
        job.approved_spec.stages[1].technique = Technique.TECHNIQUE_DPO
        return job.set_priority(job.priority.HIGH, scheduler.clock.now())

    return await scheduler.jobs.change(job.name, second_is_dpo)


def test_the_next_stage_waits_with_attempts_of_its_own_and_its_place_in_the_queue():
    first = a_chain(*BOTH).lose(an_error(), LATER)
    first = leased(first)
    failed = FailedLayout("cpu", 1, 4, gradient_checkpointing=False, expected_bytes=1)
    first = leased(first.run_out(failed, LATER))
    job = after_stage(first, a_result(SFT), LATER)
    assert (job.state, job.stage_index, job.loss_count, job.failed) == (State.QUEUED, 1, 0, ())
    assert (job.queue_time, job.node, job.progress) == (NOW, "", None)
    assert base_adapter_sha256(job) == SFT
    assert job.state_reason == "Stage 1 of 2 (SFT) has ended. The next one is Stage 2 of 2 (DPO)."
    # Its run is the one that ended until it is leased; fences go on.
    assert job.run.endswith("-s0")
    second = leased(job)
    assert second.run.endswith("-s1")
    assert (second.attempt_count, second.result) == (4, None)
    assert second.state_reason == "Stage 2 of 2 (DPO) runs on node-a, attempt 1."


def test_a_job_succeeds_after_its_last_stage_with_what_that_made():
    job = leased(after_stage(a_chain(*BOTH), a_result(SFT), LATER))
    job = after_stage(job, a_result(DPO, before="CANNOT_TELL"), LATER)
    assert (job.state, job.result.adapter_sha256) == (State.SUCCEEDED, DPO)
    assert [one.adapter_sha256 for one in job.stage_results] == [SFT, DPO]
    assert job.state_reason == "The adapter and its report exist."


def test_a_stage_worse_than_the_one_before_leaves_the_job_with_what_that_made():
    job = leased(after_stage(a_chain(*BOTH, BOTH[1]), a_result(SFT), LATER))
    job = after_stage(job, a_result(DPO, "BETTER", before="WORSE"), LATER)
    assert (job.state, job.result.adapter_sha256) == (State.SUCCEEDED, SFT)
    assert job.state_reason.startswith(
        "Stage 2 of 3 (DPO) was judged worse than stage 1 and stopped the chain: the result is "
        "what stage 1 has made."
    )
    stages = wire.job_to_proto(job).stages
    assert [one.adapter_sha256 for one in stages] == [SFT, DPO, ""]
    assert stages[1].verdict == EvaluationReport.VERDICT_WORSE
    assert not stages[2].HasField("score")


def test_a_first_stage_worse_than_the_base_fails_the_job_before_the_next_one():
    job = after_stage(a_chain(*BOTH), a_result(SFT, "WORSE"), LATER)
    assert (job.state, job.result) == (State.FAILED, None)
    assert "worse than the base model" in job.error.message
    assert job.stage_results[0].adapter_sha256 == SFT


def test_a_job_of_one_stage_succeeds_however_it_was_judged():
    job = after_stage(a_chain(BOTH[0]), a_result(SFT, "WORSE"), LATER)
    assert (job.state, job.result.adapter_sha256) == (State.SUCCEEDED, SFT)
    assert leased(new_job(a_spec(), "c1", NOW)).state_reason == "Runs on node-a, attempt 1."


@pytest.mark.parametrize(
    ("ask", "state", "reason"),
    [
        (lambda job: job.cancel(NOW), State.CANCELLED, "Cancelled on request before stage 2"),
        (lambda job: job.pause("Wait.", NOW), State.PAUSED, "Paused before the next one"),
        (lambda job: job.make_room("Room.", NOW), State.QUEUED, "The next one is Stage 2"),
    ],
)
def test_what_was_asked_for_while_a_stage_ended_happens_between_the_stages(ask, state, reason):
    job = after_stage(ask(a_chain(*BOTH)), a_result(SFT), LATER)
    assert job.state is state
    assert reason in job.state_reason
    assert job.stage_results[0].adapter_sha256 == SFT


async def test_a_chain_goes_from_node_to_node_with_the_adapter_of_the_stage_before(scheduler):
    job = await add_chain(scheduler)
    first = await scheduler.dispatcher.lease(a_node_for_both(), 0)
    assert wire.lease_to_response(first).lease.base_adapter_sha256 == ""
    finish = a_finish(first.job.run, 1, result=a_result(SFT))
    scheduler.clock.advance(60)
    await scheduler.dispatcher.finish(finish)
    # A repeat of the outcome changes nothing, and the first stage's lease is over.
    await scheduler.dispatcher.finish(finish)
    with pytest.raises(FailedPrecondition):
        await scheduler.dispatcher.renew(first.job.run, 1, None)
    assert await scheduler.dispatcher.lease(a_node("sft-only"), 0) is None
    second = await scheduler.dispatcher.lease(a_node_for_both("node-b"), 0)
    lease = wire.lease_to_response(second).lease
    assert (lease.stage_index, lease.fence, lease.base_adapter_sha256) == (1, 2, SFT)
    assert lease.run == f"projects/default/runs/{job.name.rsplit('/', 1)[1]}-s1"
    assert lease.placement.stage_index == 1
    # The first stage's worker cannot end the second stage.
    with pytest.raises(FailedPrecondition):
        await scheduler.dispatcher.finish(a_finish(first.job.run, 2))
    scheduler.clock.advance(30)
    await scheduler.dispatcher.finish(a_finish(lease.run, 2, result=a_result(DPO, before="BETTER")))
    ended = await scheduler.jobs.get(job.name)
    assert (ended.state, ended.result.adapter_sha256) == (State.SUCCEEDED, DPO)
    assert ended.device_s == pytest.approx(90)


async def test_a_worker_lost_in_the_second_stage_repeats_that_one_alone(scheduler):
    job = await add_chain(scheduler)
    first = await scheduler.dispatcher.lease(a_node_for_both(), 0)
    await scheduler.dispatcher.finish(a_finish(first.job.run, 1, result=a_result(SFT)))
    second = await scheduler.dispatcher.lease(a_node_for_both(), 0)
    scheduler.clock.advance(TERMS.lease_s + 1)
    await scheduler.sweep.sweep()
    third = await scheduler.dispatcher.lease(a_node_for_both("node-b"), 0)
    assert (third.job.run, third.job.attempt_count) == (second.job.run, 3)
    assert base_adapter_sha256(third.job) == SFT
    assert (await scheduler.jobs.get(job.name)).loss_count == 1


async def test_a_pause_between_stages_is_resumed_at_the_next_one(local):
    job = await add_chain(local)
    first = await local.dispatcher.lease(a_node_for_both(), 0)
    await local.desk.pause(a_pause(job.name))
    await local.dispatcher.finish(a_finish(first.job.run, 1, result=a_result(SFT)))
    assert (await local.jobs.get(job.name)).state is State.PAUSED
    await local.desk.resume(a_resume(job.name))
    second = await local.dispatcher.lease(a_node_for_both(), 0)
    assert second.job.run.endswith("-s1")
    await local.desk.cancel(a_cancel(job.name))


async def test_estimates_are_of_the_whole_chain(local):
    job = await add_chain(local)
    first = await local.dispatcher.lease(a_node_for_both(), 0)
    progress = scheduler_pb2.JobProgress(phase=scheduler_pb2.PHASE_TRAIN)
    progress.remaining_duration.FromSeconds(10)
    await local.dispatcher.renew(first.job.run, 1, progress)
    told = await local.desk.get(job.name)
    left_s = told.progress.remaining_duration.ToTimedelta().total_seconds()
    end_s = (told.estimated_end_time.ToDatetime(NOW.tzinfo) - NOW).total_seconds()
    assert left_s > 10
    assert end_s == pytest.approx(left_s)
    await local.dispatcher.finish(a_finish(first.job.run, 1, result=a_result(SFT)))
    second = await local.dispatcher.lease(a_node_for_both(), 0)
    assert second.placement.time.expected_s == pytest.approx(left_s - 10, rel=0.01)
    await local.dispatcher.renew(second.job.run, 2, progress)
    told = await local.desk.get(job.name)
    assert told.progress.remaining_duration.ToTimedelta() == timedelta(seconds=10)
    assert (told.stage_index, told.stages[0].score) == (1, 0.5)
