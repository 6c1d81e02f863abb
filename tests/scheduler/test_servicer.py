"""Both services through real gRPC: codes, reasons and the messages themselves."""

import json
from types import SimpleNamespace

import pytest
from attune.scheduler.v1 import (
    scheduler_pb2,
    scheduler_pb2_grpc,
    worker_pb2,
    worker_pb2_grpc,
)
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import select

from services.common import peers, rpc
from services.common.errors import FailedPrecondition, InvalidArgument, NotFound
from services.scheduler.placement import NO_TRAINER
from services.scheduler.row_store import OUTBOX
from services.scheduler.servicer import SchedulerServicer
from services.scheduler.servicer_worker import WorkerServicer
from tests.scheduler.factories import (
    CATALOGUE,
    TERMS,
    a_cancel,
    a_finish,
    a_node,
    a_pause,
    a_priority,
    a_question,
    a_resume,
    a_spec,
)

Job = scheduler_pb2.Job


@pytest.fixture
async def remote(local):
    """The stubs of a scheduler that listens on a port of its own."""
    server = rpc.Server("scheduler.attune")
    server.add(
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
        SchedulerServicer(local.desk),
        "attune.scheduler.v1.SchedulerService",
    )
    server.add(
        worker_pb2_grpc.add_WorkerServiceServicer_to_server,
        WorkerServicer(local.dispatcher),
        "attune.scheduler.v1.WorkerService",
    )
    port = await server.start("127.0.0.1", 0)
    channel = peers.channel(f"127.0.0.1:{port}")
    yield SimpleNamespace(
        jobs=scheduler_pb2_grpc.SchedulerServiceStub(channel),
        worker=worker_pb2_grpc.WorkerServiceStub(channel),
        scheduler=local,
    )
    local.changes.close()
    await channel.close(None)
    await server.stop()


async def lease(remote, node=None):
    request = worker_pb2.LeaseRunRequest(node=node or a_node())
    return (await peers.call(remote.worker.LeaseRun, request)).lease


async def get(remote, name):
    return await peers.call(remote.jobs.GetJob, scheduler_pb2.GetJobRequest(name=name))


def fields_of(caught):
    return [violation.field for violation in caught.value.violations]


async def test_whole_life_of_a_job(remote):
    made = await remote.scheduler.add_job()
    given = await lease(remote)
    assert given.job == made.name
    assert given.run == made.name.replace("/jobs/", "/runs/") + "-s0"
    assert given.fence == 1
    assert given.spec == a_spec()
    assert given.renew_interval.seconds == TERMS.renew_s
    plan = given.placement.parallel_plan
    assert plan.micro_batch_size * plan.gradient_accumulation_steps == 16
    assert given.placement.memory.expected_bytes == sum(
        part.size_bytes for part in given.placement.memory.components
    )

    progress = scheduler_pb2.JobProgress(phase=scheduler_pb2.PHASE_TRAIN, done_count=1)
    renewed = await peers.call(
        remote.worker.RenewLease,
        worker_pb2.RenewLeaseRequest(run=given.run, fence=1, progress=progress),
    )
    assert not renewed.cancel
    assert renewed.expire_time == given.expire_time
    running = await get(remote, made.name)
    assert (running.state, running.progress) == (Job.STATE_RUNNING, progress)
    assert running.run == given.run

    finished = await peers.call(remote.worker.FinishRun, a_finish(given.run, 1))
    assert finished.job_state == Job.STATE_SUCCEEDED
    done = await get(remote, made.name)
    assert done.result.lora_rank == 16
    assert done.spec_hash == a_spec().approval.hash
    assert done.base_model.id == "attune/starter"
    assert done.serving.alias == "a"
    assert done.display_name == "Routing"
    assert done.approve_time == a_spec().approval.approve_time
    assert done.HasField("end_time")


async def test_cancel_is_heard_with_the_renewal_and_confirmed(remote):
    made = await remote.scheduler.add_job()
    given = await lease(remote)
    await peers.call(remote.jobs.CancelJob, a_cancel(made.name))
    renewal = worker_pb2.RenewLeaseRequest(run=given.run, fence=1)
    assert (await peers.call(remote.worker.RenewLease, renewal)).cancel
    answer = await peers.call(remote.worker.FinishRun, a_finish(given.run, 1, "CANCELLED"))
    assert answer.job_state == Job.STATE_CANCELLED


async def test_pause_is_heard_with_the_renewal_and_a_resumed_job_goes_on(remote):
    made = await remote.scheduler.add_job()
    node = a_node()
    given = await lease(remote, node)
    assert (await peers.call(remote.jobs.PauseJob, a_pause(made.name))).state == Job.STATE_PAUSING
    renewal = worker_pb2.RenewLeaseRequest(run=given.run, fence=1)
    renewed = await peers.call(remote.worker.RenewLease, renewal)
    assert (renewed.pause, renewed.cancel) == (True, False)
    answer = await peers.call(remote.worker.FinishRun, a_finish(given.run, 1, "PAUSED"))
    assert answer.job_state == Job.STATE_PAUSED
    assert not (await lease(remote, node)).run
    assert (await peers.call(remote.jobs.ResumeJob, a_resume(made.name))).state == Job.STATE_QUEUED
    assert (await lease(remote, node)).fence == 2


async def test_a_run_that_asks_is_answered_and_does_not_ask_again(remote):
    made = await remote.scheduler.add_job()
    node = a_node()
    given = await lease(remote, node)
    assert not given.waived_reasons
    finish = a_finish(given.run, 1, "PAUSED", question=a_question())
    assert (await peers.call(remote.worker.FinishRun, finish)).job_state == Job.STATE_PAUSED
    asked = await get(remote, made.name)
    assert asked.question == a_question()
    assert asked.state_reason == asked.question.message
    with pytest.raises(InvalidArgument) as caught:
        await peers.call(remote.jobs.ResumeJob, a_resume(made.name))
    assert fields_of(caught) == ["decision"]
    resume = a_resume(made.name, decision="CONTINUE")
    for _ in range(2):  # A repeat gets the first answer and waives nothing twice.
        resumed = await peers.call(remote.jobs.ResumeJob, resume)
        assert (resumed.state, resumed.HasField("question")) == (Job.STATE_QUEUED, False)
    again = await lease(remote, node)
    assert (again.fence, list(again.waived_reasons)) == (2, ["TARGET_MET"])


async def test_a_decision_that_does_not_exist_is_refused(remote):
    made = await remote.scheduler.add_job()
    request = a_resume(made.name)
    request.decision = 9
    with pytest.raises(InvalidArgument) as caught:
        await peers.call(remote.jobs.ResumeJob, request)
    assert fields_of(caught) == ["decision"]


async def test_the_event_of_a_pause_carries_reason_and_figures(remote):
    await remote.scheduler.add_job()
    given = await lease(remote)
    finish = a_finish(given.run, 1, "PAUSED", question=a_question())
    await peers.call(remote.worker.FinishRun, finish)
    async with remote.scheduler.database.read() as connection:
        query = select(OUTBOX.c.payload).order_by(OUTBOX.c.sequence.desc()).limit(1)
        body = (await connection.execute(query)).scalar_one()
    event = json.loads(body)
    assert event["type"].endswith("job.paused")
    question = event["data"]["job"]["question"]
    assert question["reason"] == "TARGET_MET"
    assert question["figures"] == [{"name": "base_score", "value": 0.9}]


async def test_pause_that_nobody_asked_for_is_refused(remote):
    await remote.scheduler.add_job()
    given = await lease(remote)
    with pytest.raises(FailedPrecondition) as caught:
        await peers.call(remote.worker.FinishRun, a_finish(given.run, 1, "PAUSED"))
    assert caught.value.reason == "ILLEGAL_TRANSITION"


async def test_priority_is_told(remote):
    made = await remote.scheduler.add_job()
    assert (await get(remote, made.name)).priority == Job.PRIORITY_NORMAL
    await peers.call(remote.jobs.SetJobPriority, a_priority(made.name, "LOW"))
    assert (await get(remote, made.name)).priority == Job.PRIORITY_LOW


@pytest.mark.parametrize("method", ["PauseJob", "ResumeJob", "CancelJob"])
async def test_change_of_an_unknown_job_is_not_found_and_a_bad_name_is_refused(remote, method):
    request = {"PauseJob": a_pause, "ResumeJob": a_resume, "CancelJob": a_cancel}[method]
    with pytest.raises(NotFound):
        await peers.call(getattr(remote.jobs, method), request("projects/default/jobs/none"))
    with pytest.raises(InvalidArgument) as caught:
        await peers.call(getattr(remote.jobs, method), request("jobs/none"))
    assert fields_of(caught) == ["name"]


async def test_lost_lease_has_its_reason(remote):
    await remote.scheduler.add_job()
    given = await lease(remote)
    with pytest.raises(FailedPrecondition) as caught:
        await peers.call(
            remote.worker.RenewLease, worker_pb2.RenewLeaseRequest(run=given.run, fence=9)
        )
    assert caught.value.reason == "LEASE_LOST"


async def test_nothing_to_do_is_an_answer_without_a_lease(remote):
    request = worker_pb2.LeaseRunRequest(node=a_node())
    assert not (await peers.call(remote.worker.LeaseRun, request)).HasField("lease")


@pytest.mark.parametrize("seconds", [-1, 21])
async def test_wait_out_of_its_range_is_refused(remote, seconds):
    request = worker_pb2.LeaseRunRequest(node=a_node(), wait=Duration(seconds=seconds))
    with pytest.raises(InvalidArgument) as caught:
        await peers.call(remote.worker.LeaseRun, request)
    assert fields_of(caught) == ["wait"]


async def test_estimate_names_what_is_there_and_what_is_missing(remote):
    request = scheduler_pb2.EstimateComputeRequest(spec=a_spec())
    alone = await peers.call(remote.jobs.EstimateCompute, request)
    assert not alone.available
    assert alone.missing == ["No trainer is connected; start one with `attune up`."]
    await lease(remote)
    plan = await peers.call(remote.jobs.EstimateCompute, request)
    assert plan.available
    assert not plan.missing
    stage = plan.stages[0]
    assert (stage.profile, stage.device_count, stage.step_count) == ("cpu", 1, 102)
    assert len(stage.rejected_placements) == len(CATALOGUE.profiles) - 1
    assert stage.expected_duration == plan.expected_duration


async def test_every_stage_is_estimated(remote):
    request = scheduler_pb2.EstimateComputeRequest(spec=a_spec(stages=2))
    plan = await peers.call(remote.jobs.EstimateCompute, request)
    assert [stage.stage_index for stage in plan.stages] == [0, 1]
    assert plan.expected_duration.seconds > plan.stages[0].expected_duration.seconds
    assert not plan.available
    assert list(plan.missing) == [NO_TRAINER]


async def test_unknown_job_is_not_found_and_a_bad_name_is_refused(remote):
    with pytest.raises(NotFound):
        await get(remote, "projects/default/jobs/none")
    with pytest.raises(InvalidArgument) as caught:
        await get(remote, "jobs/none")
    assert fields_of(caught) == ["name"]


async def test_pages_hold_every_job_once_newest_first(remote):
    names = [(await remote.scheduler.add_job(number)).name for number in range(1, 6)]
    found, token = [], ""
    for _ in range(3):
        request = scheduler_pb2.ListJobsRequest(parent="projects/-", page_size=2, page_token=token)
        answer = await peers.call(remote.jobs.ListJobs, request)
        found += [job.name for job in answer.jobs]
        token = answer.next_page_token
    assert found == names[::-1]
    assert token == ""


async def test_list_is_filtered_by_state_and_spec(remote):
    first, second = [await remote.scheduler.add_job(number) for number in (1, 2)]
    await peers.call(remote.jobs.CancelJob, a_cancel(first.name))
    for filters, expected in (
        ({"state": Job.STATE_CANCELLED}, [first.name]),
        ({"state": Job.STATE_RUNNING}, []),
        ({"spec": second.spec}, [second.name]),
    ):
        request = scheduler_pb2.ListJobsRequest(parent="projects/default", **filters)
        answer = await peers.call(remote.jobs.ListJobs, request)
        assert [job.name for job in answer.jobs] == expected


@pytest.mark.parametrize(
    "bad",
    [
        {"page_token": "!"},
        {"page_token": "Li4v"},
        {"page_size": -1},
        {"parent": "projects"},
        {"spec": "s1"},
        {"state": 77},
    ],
    ids=str,
)
async def test_bad_list_is_refused_by_field(remote, bad):
    request = scheduler_pb2.ListJobsRequest(**{"parent": "projects/default", **bad})
    with pytest.raises(InvalidArgument) as caught:
        await peers.call(remote.jobs.ListJobs, request)
    assert fields_of(caught) == list(bad)


async def test_watch_streams_until_the_end(remote):
    made = await remote.scheduler.add_job()
    watched = []
    request = scheduler_pb2.WatchJobRequest(name=made.name)
    async for job in peers.stream(remote.jobs.WatchJob, request, timeout_s=20):
        watched.append(job.state)
        if job.state == Job.STATE_QUEUED:
            await peers.call(remote.jobs.CancelJob, a_cancel(made.name))
    assert watched == [Job.STATE_QUEUED, Job.STATE_CANCELLED]


async def test_watch_of_an_unknown_job_is_not_found(remote):
    request = scheduler_pb2.WatchJobRequest(name="projects/default/jobs/none")
    with pytest.raises(NotFound):
        async for _ in peers.stream(remote.jobs.WatchJob, request, timeout_s=20):
            pass


async def test_request_id_must_be_a_uuid(remote):
    made = await remote.scheduler.add_job()
    with pytest.raises(InvalidArgument) as caught:
        await peers.call(remote.jobs.CancelJob, a_cancel(made.name, "again"))
    assert fields_of(caught) == ["request_id"]
