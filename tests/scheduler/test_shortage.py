"""Runs that ran out of memory: what their jobs do next, and what the user is told, end to end."""

from dataclasses import replace

import pytest
from attune.scheduler.v1.scheduler_pb2 import PHASE_BASELINE, PHASE_TRAIN, EstimateComputeRequest
from attune.scheduler.v1.worker_pb2 import FinishRunRequest, MemoryUse
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from sqlalchemy import func, select

from services.common.errors import FailedPrecondition, InvalidArgument
from services.scheduler import wire
from services.scheduler.observation_store import KEPT_PER_KEY
from services.scheduler.observed import HIGHEST
from services.scheduler.row_store import OBSERVATIONS
from services.scheduler.shortage import RETRIES_MAX
from services.scheduler.state import State
from tests.scheduler.factories import GIB, a_cancel, a_finish, a_node, a_pause, a_result, a_spec

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
NODE = a_node(instance="7a0b1c52-6b0c-4f62-8f5d-3b8f1f7c9a01")


def a_shortage(lease, *, phase=PHASE_TRAIN, step=40, checkpoint=30, **use):
    """Return what the trainer says of a lease that ran out of memory."""
    error = Status(code=8, message="MemoryError: 1 GiB is not there.")
    error.details.add().Pack(ErrorInfo(reason="OUT_OF_MEMORY", domain="trainer.attune"))
    plan = wire.lease_to_response(lease).lease.placement.parallel_plan
    memory = MemoryUse(
        phase=phase,
        profile=lease.placement.profile.id,
        parallel_plan=plan,
        step_count=step,
        checkpoint_step_count=checkpoint,
        **use,
    )
    run, fence = lease.job.run, lease.job.attempt_count
    return a_finish(run, fence, "OUT_OF_MEMORY", error=error, memory=memory)


def a_success(lease, peak_bytes, tokens=512):
    request = a_shortage(lease, peak_bytes=peak_bytes, max_token_count=tokens)
    request.outcome = FinishRunRequest.OUTCOME_SUCCEEDED
    request.ClearField("error")
    request.result.CopyFrom(a_result())
    return request


def layout(lease):
    batching = lease.placement.batching
    return (
        batching.micro_batch_size,
        batching.gradient_accumulation_steps,
        batching.gradient_checkpointing,
    )


async def leased(scheduler, node=NODE):
    lease = await scheduler.dispatcher.lease(node, 0)
    assert lease is not None
    return lease


async def test_a_run_goes_on_smaller_three_times_and_then_fails_with_advice(scheduler):
    added = await scheduler.add_job()
    sizes, told = [], []
    for number in range(RETRIES_MAX):
        lease = await leased(scheduler)
        sizes.append(layout(lease))
        job = await scheduler.dispatcher.finish(a_shortage(lease))
        assert (job.state, len(job.failed), job.loss_count) == (State.QUEUED, number + 1, 0)
        told.append(job.state_reason)
    lease = await leased(scheduler)
    sizes.append(layout(lease))
    assert lease.job.state_reason.startswith("Runs on node-a, attempt 4. Ran out of memory at")
    assert {size * steps for size, steps, _ in sizes} == {16}
    assert [size for size, _, _ in sizes] == [16, 8, 4, 2]
    assert told[0] == (
        "Ran out of memory at step 40 with micro-batches of 16; goes on with 8 x 2 from step 30."
    )
    job = await scheduler.dispatcher.finish(a_shortage(lease))
    assert job.state is State.FAILED
    assert "went on with a larger plan 3 times already" in job.error.message
    assert "No change to the spec is sure to fit here" in job.error.message
    info = ErrorInfo()
    job.error.details[0].Unpack(info)
    assert info.reason == "OUT_OF_MEMORY"
    answer = await scheduler.desk.get(added.name)
    assert list(answer.memory_shortages) == [*told, job.error.message]
    assert await scheduler.dispatcher.lease(NODE, 0) is None


async def test_a_failed_job_is_told_the_nearest_change_that_would_fit(local):
    await local.add_job(1, base_model=LLAMA, max_length=8192)
    node = a_node(profile="a100-80gb", memory_gib=79, base_model=LLAMA)
    for _ in range(RETRIES_MAX + 1):
        job = await local.dispatcher.finish(a_shortage(await leased(local, node)))
        if job.state is State.FAILED:
            break
    assert job.state is State.FAILED
    assert (
        "The nearest change that would fit: set hyperparameters.max_length to" in job.error.message
    )


async def test_the_peak_is_told_beside_what_was_expected(local):
    await local.add_job()
    lease = await leased(local)
    job = await local.dispatcher.finish(a_shortage(lease, checkpoint=0, peak_bytes=5 * GIB))
    assert "goes on with 8 x 2 from the start. It took 5.0 GiB, where " in job.state_reason
    assert "of 6.0 GiB were expected." in job.state_reason


async def test_a_shortage_outside_training_needs_a_larger_device(local):
    await local.add_job()
    await local.nodes.put(a_node("node-b", memory_gib=8, free=0), local.clock.now())
    lease = await leased(local)
    job = await local.dispatcher.finish(a_shortage(lease, phase=PHASE_BASELINE, checkpoint=0))
    assert job.state is State.QUEUED
    assert "while the base model was scored; goes on with 16 x 1 on" in job.state_reason
    assert "with 8.0 GiB from the start" in job.state_reason
    assert await local.dispatcher.lease(NODE, 0) is None
    larger = await leased(local, a_node("node-b", memory_gib=8))
    assert larger.job.name == job.name


async def test_without_a_larger_device_such_a_job_fails(local):
    await local.add_job()
    lease = await leased(local)
    job = await local.dispatcher.finish(a_shortage(lease, phase=PHASE_BASELINE))
    assert job.state is State.FAILED
    assert "no live device has a larger plan for it" in job.error.message


async def test_what_was_asked_for_meanwhile_is_done(local):
    for number, ask, state in (
        (1, lambda name: local.desk.cancel(a_cancel(name)), State.CANCELLED),
        (2, lambda name: local.desk.pause(a_pause(name)), State.PAUSED),
    ):
        await local.add_job(number)
        lease = await leased(local)
        await ask(lease.job.name)
        job = await local.dispatcher.finish(a_shortage(lease))
        assert job.state is state
        assert "Ran out of memory at step 40" in job.state_reason


async def test_a_repeated_outcome_counts_once_and_a_stale_one_not_at_all(scheduler):
    await scheduler.add_job()
    lease = await leased(scheduler)
    request = a_shortage(lease)
    await scheduler.dispatcher.finish(request)
    again = await scheduler.dispatcher.finish(request)
    assert len(again.failed) == 1
    await leased(scheduler)
    with pytest.raises(FailedPrecondition):
        await scheduler.dispatcher.finish(request)


async def test_the_outcome_must_say_where_and_why(local):
    await local.add_job()
    request = a_shortage(await leased(local))
    request.ClearField("memory")
    with pytest.raises(InvalidArgument) as caught:
        await local.dispatcher.finish(request)
    assert [one.field for one in caught.value.violations] == ["memory"]


async def test_a_restarted_scheduler_still_avoids_what_failed(scheduler):
    await scheduler.add_job()
    await scheduler.dispatcher.finish(a_shortage(await leased(scheduler)))
    assert layout(await leased(scheduler.restarted())) == (8, 2, False)


async def test_finished_runs_correct_estimates_and_places_alike(scheduler):
    spec = EstimateComputeRequest(spec=a_spec(99)).spec
    shape = EstimateComputeRequest().data_shape
    await scheduler.nodes.put(a_node(free=0), scheduler.clock.now())
    formula = (await scheduler.desk.estimate(spec, shape)).stages[0].placement.memory
    assert formula.note == ""
    for number in range(1, 5):
        await scheduler.add_job(number)
        lease = await leased(scheduler)
        before = lease.placement.memory
        peak = round(formula.expected_bytes * 1.3)
        await scheduler.dispatcher.finish(a_success(lease, peak))
    plan = await scheduler.desk.estimate(spec, shape)
    after = plan.stages[0].placement.memory
    assert after.note == "Memory is corrected by 4 observed runs."
    assert before.note == "Memory is corrected by 3 observed runs."
    factor = after.expected_bytes / formula.expected_bytes
    assert factor == pytest.approx(1.3 ** (4 / 7), rel=0.01)
    assert factor <= HIGHEST
    assert wire.plan_to_proto(plan).stages[0].reason.endswith(after.note)
    await scheduler.add_job(9)
    placed = (await leased(scheduler.restarted())).placement.memory
    assert placed == after


async def test_observations_of_a_key_are_bounded_and_written_once(scheduler):
    count = KEPT_PER_KEY + 3
    for number in range(1, count + 1):
        await scheduler.add_job(number)
        request = a_success(await leased(scheduler), GIB + number)
        await scheduler.dispatcher.finish(request)
        await scheduler.dispatcher.finish(request)
    async with scheduler.database.read() as connection:
        columns = OBSERVATIONS.c
        query = select(func.count(), func.min(columns.peak_bytes), func.max(columns.peak_bytes))
        found = (await connection.execute(query)).one()
    assert tuple(found) == (KEPT_PER_KEY, GIB + 4, GIB + count)
    assert await scheduler.observations.read() is await scheduler.observations.read()


async def test_runs_that_say_nothing_of_their_training_teach_nothing(local):
    for number, change in enumerate(
        (
            {"peak_bytes": 0},
            {"max_token_count": 0},
            {"phase": PHASE_BASELINE},
            {"profile": "unknown"},
        ),
        1,
    ):
        await local.add_job(number)
        request = a_success(await leased(local), GIB)
        for name, value in change.items():
            setattr(request.memory, name, value)
        assert (await local.dispatcher.finish(request)).state is State.SUCCEEDED
    async with local.database.read() as connection:
        query = select(func.count()).select_from(OBSERVATIONS)
        assert (await connection.execute(query)).scalar_one() == 0


async def test_running_out_teaches_only_where_it_took_more_than_expected(local):
    await local.add_job()
    lease = await leased(local)
    expected = lease.placement.memory.expected_bytes
    less = a_shortage(lease, peak_bytes=expected // 2, max_token_count=512)
    await local.dispatcher.finish(less)
    lease = await leased(local)
    more = a_shortage(lease, peak_bytes=round(expected * 1.2), max_token_count=512)
    await local.dispatcher.finish(more)
    async with local.database.read() as connection:
        query = select(OBSERVATIONS.c.peak_bytes)
        found = [row.peak_bytes for row in await connection.execute(query)]
    assert found == [round(expected * 1.2)]


async def test_a_job_with_failures_comes_back_as_it_went_in(scheduler):
    await scheduler.add_job()
    lease = await leased(scheduler)
    job = await scheduler.dispatcher.finish(a_shortage(lease))
    assert job.failed[0] == replace(lease.job.layout, reason=job.state_reason)
    assert await scheduler.jobs.get(job.name) == job
    assert job.layout is None
