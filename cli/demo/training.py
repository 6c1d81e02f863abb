"""Step 5 of the demo: the job from its making to its report."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from attune.scheduler.v1 import scheduler_pb2
from attune.spec.v1 import spec_pb2
from attune.trainer.v1 import trainer_pb2

from cli.client import Client
from cli.demo.steps import Step, Steps
from cli.job_watch import job_of_spec, watch_job
from cli.jobs import cancel_job, why_not
from cli.resource_names import short
from cli.views.figures import number
from cli.views.job import JobView, phase_name
from cli.views.report import show_report
from services.common.errors import ServiceError
from services.common.peers import call


async def train(
    client: Client, steps: Steps, approved: spec_pb2.Spec
) -> tuple[scheduler_pb2.Job, trainer_pb2.Run]:
    """Follow the job of an approved plan to its success; cancel it when interrupted.

    Returns:
        The job with its result, and its last run, empty when the trainer cannot tell.

    Raises:
        FailedPrecondition: If the job has no result.
    """
    with steps.step("queue and hand-over", "Training, as approved") as step:
        job = await job_of_spec(client, approved)
        steps.screen.say(f"  {short(job.name)}")
        try:
            with JobView(steps.screen) as view:
                async for now in watch_job(client, job.name):
                    view.show(job := now)
        except asyncio.CancelledError:
            with suppress(ServiceError):
                await cancel_job(client, job.name)
            raise
        if job.state != scheduler_pb2.Job.STATE_SUCCEEDED:
            raise why_not(job)
        run = await _run_of(client, job)
        show_report(steps.screen, job.result.report)
        attempts = f", {job.attempt_count} attempts" if job.attempt_count > 1 else ""
        step.result = short(job.name) + attempts
    _add_phases(steps, run, job)
    return job, run


async def _run_of(client: Client, job: scheduler_pb2.Job) -> trainer_pb2.Run:
    """Return a job's run; what it adds to the report is no reason to fail."""
    with suppress(ServiceError):
        request = trainer_pb2.GetRunRequest(name=job.run)
        found: trainer_pb2.Run = await call(client.trainer.GetRun, request)
        return found
    return trainer_pb2.Run()


def _registered(result: scheduler_pb2.JobResult) -> str:
    if result.merged_sha256:
        return f"whole model {result.merged_sha256[:12]}"
    return f"adapter {result.adapter_sha256[:12]}"


def _add_phases(steps: Steps, run: trainer_pb2.Run, job: scheduler_pb2.Job) -> None:
    """Take the phases' times out of the step that waited for all of them."""
    waited, report = steps.done[-1], job.result.report
    results = {
        scheduler_pb2.PHASE_BASELINE: f"base {report.base_score:.3f}, "
        f"few-shot {report.few_shot_score:.3f}, majority {report.majority_score:.3f}",
        scheduler_pb2.PHASE_EVALUATE: f"tuned {report.tuned_score:.3f} on "
        f"{number(report.holdout_row_count)} rows",
        scheduler_pb2.PHASE_REGISTER: _registered(job.result),
    }
    for timing in run.phases:
        if not timing.HasField("end_time"):
            continue
        took = timing.end_time.ToDatetime() - timing.start_time.ToDatetime()
        name = phase_name(timing.phase).lower()
        steps.done.append(Step(name, took.total_seconds(), results.get(timing.phase, "")))
        waited.seconds = max(0.0, waited.seconds - took.total_seconds())
