"""Maps requests, jobs and placements between their messages and the domain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from attune.scheduler.v1 import scheduler_pb2, worker_pb2
from attune.spec.v1 import compute_pb2

from services.common.errors import Violation, invalid
from services.common.wire_time import duration, timestamp
from services.scheduler.chain import base_adapter_sha256, stage_verdict
from services.scheduler.job import Job
from services.scheduler.layout import Placement
from services.scheduler.lease import Lease
from services.scheduler.placement import Plan, StagePlan
from services.scheduler.profile import Precision
from services.scheduler.question import Decision
from services.scheduler.queue.entry import Priority
from services.scheduler.state import HALTING, State

WAIT_MAX_S = 20.0
STATES = {state: scheduler_pb2.Job.State.Value(f"STATE_{state}") for state in State}
PRIORITIES = {one: scheduler_pb2.Job.Priority.Value(f"PRIORITY_{one.name}") for one in Priority}
DECISIONS = {
    one: scheduler_pb2.ResumeJobRequest.Decision.Value(f"DECISION_{one}") for one in Decision
}
PRECISIONS = {
    Precision.FLOAT32: compute_pb2.ParallelPlan.PRECISION_FLOAT32,
    Precision.BFLOAT16: compute_pb2.ParallelPlan.PRECISION_BFLOAT16,
    Precision.FLOAT16: compute_pb2.ParallelPlan.PRECISION_FLOAT16,
}


@dataclass(frozen=True)
class Prospect:
    """What is known of a job only now, and not stored with it."""

    state_reason: str
    """Stands in place of the stored one."""
    wait_reason: str = ""
    queue_position: int = 0
    estimated_start: datetime | None = None
    estimated_end: datetime | None = None
    start_promised: bool = False
    cost_micro_usd: int = 0
    later_s: float = 0.0
    """Expected of the stages after the present one, in seconds."""


def job_to_proto(job: Job, prospect: Prospect | None = None) -> scheduler_pb2.Job:
    """Return the message of a job.

    Args:
        job: Any job.
        prospect: What else is known; None for what a change itself says.
    """
    if prospect is None:
        cost = job.cost_micro_usd(job.update_time)
        prospect = Prospect(job.state_reason, cost_micro_usd=cost)
    spec = job.approved_spec
    message = scheduler_pb2.Job(
        name=job.name,
        spec=job.spec,
        spec_revision=job.spec_revision,
        spec_hash=job.spec_hash,
        state=STATES[job.state],
        state_reason=prospect.state_reason,
        stage_index=job.stage_index,
        progress=job.progress,
        attempt_count=job.attempt_count,
        run=job.run,
        result=job.result,
        error=job.error,
        base_model=spec.base_model,
        serving=spec.serving,
        display_name=spec.display_name,
        approve_time=spec.approval.approve_time,
        create_time=timestamp(job.create_time),
        start_time=timestamp(job.start_time),
        end_time=timestamp(job.end_time),
        update_time=timestamp(job.update_time),
        priority=PRIORITIES[job.priority],
        queue_position=prospect.queue_position,
        wait_reason=prospect.wait_reason,
        estimated_start_time=timestamp(prospect.estimated_start),
        estimated_end_time=timestamp(_later(prospect.estimated_end, prospect.later_s)),
        start_promised=prospect.start_promised,
        cost_micro_usd=prospect.cost_micro_usd,
        memory_shortages=[one.reason for one in job.failed],
        stages=_stages(job),
        question=job.question,
        waived_reasons=job.waived_reasons,
    )
    if prospect.later_s and message.progress.HasField("remaining_duration"):
        left = message.progress.remaining_duration
        left.FromTimedelta(left.ToTimedelta() + timedelta(seconds=prospect.later_s))
    return message


def state_from_proto(state: scheduler_pb2.Job.State.ValueType) -> State | None:
    """Return the state that a list asks for; None for all.

    Raises:
        InvalidArgument: If there is no such state.
    """
    if state == scheduler_pb2.Job.STATE_UNSPECIFIED:
        return None
    for known, value in STATES.items():
        if value == state:
            return known
    text = f"{state} is not a state. Send one of {', '.join(STATES)}."
    raise invalid([Violation("state", "ENUM", text)])


def priority_from_proto(priority: scheduler_pb2.Job.Priority.ValueType) -> Priority:
    """Return the priority that a request names.

    Raises:
        InvalidArgument: If there is no such priority.
    """
    for known, value in PRIORITIES.items():
        if value == priority:
            return known
    names = ", ".join(one.name for one in Priority)
    text = f"{priority} is not a priority. Send one of {names}."
    raise invalid([Violation("priority", "ENUM", text)])


def decision_from_proto(
    decision: scheduler_pb2.ResumeJobRequest.Decision.ValueType,
) -> Decision | None:
    """Return what a request decides; None when it does not say.

    Raises:
        InvalidArgument: If there is no such decision.
    """
    if decision == scheduler_pb2.ResumeJobRequest.DECISION_UNSPECIFIED:
        return None
    for known, value in DECISIONS.items():
        if value == decision:
            return known
    text = f"{decision} is not a decision. Send one of {', '.join(DECISIONS)}."
    raise invalid([Violation("decision", "ENUM", text)])


def wait_s(request: worker_pb2.LeaseRunRequest) -> float:
    """Return how long a LeaseRun may wait, in seconds.

    Raises:
        InvalidArgument: If it is negative or more than 20 s.
    """
    seconds = request.wait.ToNanoseconds() / 1e9
    if not 0 <= seconds <= WAIT_MAX_S:
        text = f"{seconds:g} s is not in [0, {WAIT_MAX_S:g}] s. Ask again instead of longer."
        raise invalid([Violation("wait", "RANGE", text)])
    return seconds


def lease_to_response(lease: Lease | None) -> worker_pb2.LeaseRunResponse:
    """Return what a trainer hears: its new lease, or that there was nothing to do."""
    if lease is None:
        return worker_pb2.LeaseRunResponse()
    job = lease.job
    reason = "The next job in the queue that this node can run."
    message = worker_pb2.Lease(
        run=job.run,
        job=job.name,
        stage_index=job.stage_index,
        fence=job.attempt_count,
        expire_time=timestamp(job.lease_expire_time),
        renew_interval=duration(lease.terms.renew_s),
        spec=job.approved_spec,
        placement=_stage(lease.placement, job.stage_index, reason),
        base_adapter_sha256=base_adapter_sha256(job),
        waived_reasons=job.waived_reasons,
    )
    return worker_pb2.LeaseRunResponse(lease=message)


def renewal_to_proto(job: Job) -> worker_pb2.RenewLeaseResponse:
    """Return what a trainer hears after a renewal."""
    return worker_pb2.RenewLeaseResponse(
        expire_time=timestamp(job.lease_expire_time),
        cancel=job.state is State.CANCELLING,
        pause=job.state in HALTING,
    )


def plan_to_proto(plan: Plan) -> compute_pb2.ComputePlan:
    """Return the message of a plan."""
    return compute_pb2.ComputePlan(
        stages=[_planned(stage, index) for index, stage in enumerate(plan.stages)],
        cost_micro_usd=plan.cost_micro_usd,
        expected_duration=duration(plan.expected_s),
        available=not plan.missing,
        missing=plan.missing,
    )


def _stages(job: Job) -> list[scheduler_pb2.JobStage]:
    stages = [
        scheduler_pb2.JobStage(technique=stage.technique) for stage in job.approved_spec.stages
    ]
    for stage, result in zip(stages, job.stage_results, strict=False):
        stage.adapter_sha256 = result.adapter_sha256
        stage.score = result.report.tuned_score
        stage.verdict = stage_verdict(result.report)
    return stages


def _planned(planned: StagePlan, index: int) -> compute_pb2.StageCompute:
    stage = _stage(planned.placement, index, planned.reason)
    for rejected in planned.rejected:
        stage.rejected_placements.add(
            profile=rejected.profile,
            device_count=rejected.device_count,
            reason=rejected.reason,
            cost_micro_usd=rejected.cost_micro_usd,
            expected_duration=duration(rejected.expected_s),
        )
    return stage


def _stage(placement: Placement, stage_index: int, reason: str) -> compute_pb2.StageCompute:
    memory, time, batching = placement.memory, placement.time, placement.batching
    return compute_pb2.StageCompute(
        stage_index=stage_index,
        profile=placement.profile.id,
        device_count=placement.device_count,
        parallel_plan=compute_pb2.ParallelPlan(
            micro_batch_size=batching.micro_batch_size,
            gradient_accumulation_steps=batching.gradient_accumulation_steps,
            gradient_checkpointing=batching.gradient_checkpointing,
            sharding=(
                compute_pb2.ParallelPlan.SHARDING_FSDP
                if batching.sharded
                else compute_pb2.ParallelPlan.SHARDING_NONE
            ),
            precision=PRECISIONS[placement.profile.precision],
        ),
        memory=compute_pb2.MemoryEstimate(
            low_bytes=memory.low_bytes,
            expected_bytes=memory.expected_bytes,
            high_bytes=memory.high_bytes,
            capacity_bytes=placement.capacity_bytes,
            components=[
                compute_pb2.MemoryComponent(title=part.title, size_bytes=part.size_bytes)
                for part in memory.components
            ],
        ),
        step_count=time.step_count,
        step_duration=duration(time.step_s),
        expected_duration=duration(time.expected_s),
        cost_micro_usd=placement.cost_micro_usd,
        reason=f"{reason} {memory.note}".strip(),
    )


def _later(time: datetime | None, seconds: float) -> datetime | None:
    return None if time is None else time + timedelta(seconds=seconds)
