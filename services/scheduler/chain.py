"""What becomes of a job when one of its stages has ended; pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from attune.scheduler.v1.scheduler_pb2 import JobResult
from attune.spec.v1.evaluation_pb2 import EvaluationReport
from google.rpc.status_pb2 import Status

from services.scheduler.job import Job
from services.scheduler.stage import stage_title
from services.scheduler.state import State

CODE_FAILED_PRECONDITION = 9
"""`google.rpc.Code.FAILED_PRECONDITION`."""
WORSE = EvaluationReport.VERDICT_WORSE


def after_stage(job: Job, result: JobResult, now: datetime) -> Job:
    """Return the job after a stage has made an adapter: at the next stage, or at its end.

    A stage judged worse than what it began with stops the chain. From the second stage on the
    job then succeeds with what the stage before had made; a first stage leaves nothing to go on
    with, so that the job fails. A job of one stage succeeds however it was judged.

    Args:
        job: Holds the lease.
        result: What the stage made.
        now: The present moment.

    Raises:
        FailedPrecondition: If it holds no lease.
    """
    spec, index = job.approved_spec, job.stage_index
    count = len(spec.stages)
    job = replace(job, stage_results=(*job.stage_results, result))
    title = stage_title(spec, index)
    if count > 1 and stage_verdict(result.report) == WORSE:
        if index > 0:
            told = (
                f"{title} was judged worse than stage {index} and stopped the chain: the result "
                f"is what stage {index} has made."
            )
            return job.succeed(job.stage_results[index - 1], now, told)
        text = (
            f"{title} was judged worse than the base model, so that the chain stopped: stage 2 "
            "would begin with it. Look at the report of its run, mend the data or the settings, "
            "and approve the spec again."
        )
        return job.fail(Status(code=CODE_FAILED_PRECONDITION, message=text), now)
    if index + 1 == count:
        return job.succeed(result, now)
    following = stage_title(spec, index + 1)
    return job.advance(_reason(job, f"{title} has ended.", following), now)


def base_adapter_sha256(job: Job) -> str:
    """Return the adapter that the present stage begins with; empty in the first one."""
    if job.stage_index == 0:
        return ""
    return job.stage_results[job.stage_index - 1].adapter_sha256


def stage_verdict(report: EvaluationReport) -> EvaluationReport.Verdict.ValueType:
    """Return how a stage was judged beside what it began with."""
    if report.HasField("previous_stage"):
        return report.previous_stage.verdict
    return report.verdict


def _reason(job: Job, ended: str, following: str) -> str:
    if job.state is State.CANCELLING:
        return f"{ended} Cancelled on request before {following.lower()}."
    if job.state is State.PAUSING:
        return f"{ended} Paused before the next one, {following}."
    return f"{ended} The next one is {following}."
