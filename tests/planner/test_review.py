"""Suggestions after a job, through real gRPC: the job, its curves, and an edit that fits."""

import math

from attune.planner.v1 import planner_pb2
from attune.scheduler.v1 import scheduler_pb2
from attune.spec.v1 import spec_pb2

from services.common import peers as clients
from tests.planner.planner_service import PARENT, refusal


async def a_finished_job(service, **facts) -> scheduler_pb2.Job:
    spec = await service.proposed()
    job = scheduler_pb2.Job(
        name=f"{PARENT}/jobs/a1",
        spec=spec.name,
        spec_revision=spec.revision,
        state=scheduler_pb2.Job.STATE_SUCCEEDED,
        run=f"{PARENT}/runs/a1-s0",
    )
    job.result.report.tuned_score = 0.5
    job.MergeFrom(scheduler_pb2.Job(**facts))
    service.peers.scheduler.jobs[job.name] = job
    return job


async def suggestions(service, job: str):
    request = planner_pb2.SuggestRevisionsRequest(job=job)
    return (await clients.call(service.planner.SuggestRevisions, request)).suggestions


async def test_a_finished_job_suggests_an_edit_that_update_takes_as_it_is(service):
    job = await a_finished_job(service)
    losses = [(10, 2.0), (20, 1.5), (30, 1.0)]
    service.peers.runs.curves[job.run] = [(step, {"eval_loss": loss}) for step, loss in losses]
    (found,) = await suggestions(service, job.name)
    assert found.code == "still_improving"
    assert found.evidence
    updated = await service.update(found.spec, *(each.field_path for each in found.changes))
    assert (updated.revision, updated.state) == (2, spec_pb2.Spec.STATE_DRAFT)


async def test_a_loss_that_is_no_number_suggests_nothing(service):
    job = await a_finished_job(service)
    points = [(10, 1.0, 2.0), (20, 1.0, 1.5), (30, math.nan, 1.0)]
    service.peers.runs.curves[job.run] = [
        (step, {"eval_loss": checked, "loss": loss}) for step, checked, loss in points
    ]
    assert list(await suggestions(service, job.name)) == []


async def test_a_job_without_curves_any_more_is_read_by_its_report(service):
    job = await a_finished_job(service)
    assert list(await suggestions(service, job.name)) == []


async def test_an_unended_and_an_unknown_job_are_refused(service):
    job = await a_finished_job(service, state=scheduler_pb2.Job.STATE_RUNNING)
    refused = await refusal(suggestions(service, job.name))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "JOB_NOT_ENDED")
    assert (await refusal(suggestions(service, f"{PARENT}/jobs/b2"))).code == "NOT_FOUND"
    assert (await refusal(suggestions(service, "a1"))).code == "INVALID_ARGUMENT"
