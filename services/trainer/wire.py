"""Between messages and what the trainer works with; pure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from attune.scheduler.v1 import scheduler_pb2
from attune.scheduler.v1.worker_pb2 import Device as DeviceMessage
from attune.scheduler.v1.worker_pb2 import FinishRunRequest, Lease, Node, RenewLeaseRequest
from attune.spec.v1.compute_pb2 import ModelShape
from attune.trainer.v1 import trainer_pb2
from attune.trainer.v1.render_pb2 import RenderedRow, TokenCount
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc.code_pb2 import ABORTED, FAILED_PRECONDITION, RESOURCE_EXHAUSTED
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from services.common.errors import Violation, invalid
from services.trainer.attempt import PAGE_HTML, PAGE_MARKDOWN, Attempt
from services.trainer.data.row_shape import Counts, Preview, ShapedRow, shape_row
from services.trainer.devices import Device, has_gpu
from services.trainer.engine.engine import Engine
from services.trainer.recipes import RECIPES, methods_here
from services.trainer.run import OUT_OF_MEMORY, Manifest, MemoryFacts, Phase, Progress, Question
from services.trainer.settings import TrainerSettings

DOMAIN = "trainer.attune"
RUN_PATTERN = "projects/{project}/runs/{run}"
QUESTION_CHARACTERS_MAX = 2000
"""Of what a run asks; the scheduler takes no more."""
FIGURES_MAX = 16
"""Numbers behind it; the scheduler takes no more, and finite ones only."""
ROWS_MAX = 1000
ROW_BYTES_MAX = 2 * 1024 * 1024


def node_to_proto(
    settings: TrainerSettings,
    engine: Engine,
    devices: Sequence[Device],
    base_models: Sequence[ModelShape],
    free_slot_count: int,
) -> Node:
    """Return this machine, or the cluster behind it, as the scheduler registers it."""
    return Node(
        id=settings.node_id,
        instance=engine.instance,
        devices=[
            DeviceMessage(profile=one.profile, memory_bytes=one.memory_bytes) for one in devices
        ],
        core_count=len(settings.cpu_numbers),
        engines=[engine.name],
        techniques=list(RECIPES),  # type: ignore[arg-type]  # Numbers are enum values on the wire.
        methods=methods_here(has_cuda=has_gpu(devices)),  # type: ignore[arg-type]
        base_models=base_models,
        free_slot_count=free_slot_count,
    )


def manifest_from_lease(lease: Lease, settings: TrainerSettings, folder: Path) -> Manifest:
    """Return what the process of a leased run is told.

    Args:
        lease: Of the run.
        settings: Of this service.
        folder: Of the attempt.
    """
    elsewhere = settings.engine == "ray"
    return Manifest(
        run=lease.run,
        job=lease.job,
        stage_index=lease.stage_index,
        fence=lease.fence,
        node=settings.node_id,
        spec_hash=lease.spec.hash,
        spec=_to_json(lease.spec),
        placement=_to_json(lease.placement),
        artefacts=str(settings.artefact_root),
        # Elsewhere neither this home nor these cores are there; the attempt's folder is.
        home=str(folder if elsewhere else settings.home),
        cpus=() if elsewhere else settings.cpu_numbers,
        threads=settings.threads,
        accelerator=settings.accelerator,
        base_adapter_sha256=lease.base_adapter_sha256,
        waived_reasons=tuple(lease.waived_reasons),
    )


def lease_from_manifest(manifest: Manifest) -> Lease:
    """Return the lease that an attempt was begun with, but for its times."""
    lease = Lease(
        run=manifest.run,
        job=manifest.job,
        stage_index=manifest.stage_index,
        fence=manifest.fence,
    )
    ParseDict(dict(manifest.spec), lease.spec, ignore_unknown_fields=True)
    ParseDict(dict(manifest.placement), lease.placement, ignore_unknown_fields=True)
    return lease


def renewal(lease: Lease, progress: Progress | None) -> RenewLeaseRequest:
    """Return the request that keeps a lease."""
    request = RenewLeaseRequest(run=lease.run, fence=lease.fence)
    if progress is not None:
        request.progress.CopyFrom(progress_to_proto(progress))
    return request


def success(
    lease: Lease,
    registered: dict[str, Any],
    report: dict[str, Any],
    memory: dict[str, Any] | None,
) -> FinishRunRequest:
    """Return the request that hands in a result, and what training took of memory if known."""
    request = _finish(lease, FinishRunRequest.OUTCOME_SUCCEEDED)
    for name in ("adapter_sha256", "lora_rank", "merged_sha256"):
        if name in registered:
            setattr(request.result, name, registered[name])
    ParseDict(report, request.result.report)
    if memory:
        ParseDict(memory, request.memory)
        request.memory.phase = _phase(Phase.TRAIN)
    return request


def failure(lease: Lease, reason: str, message: str) -> FinishRunRequest:
    """Return the request that says that the run failed for good."""
    request = _finish(lease, FinishRunRequest.OUTCOME_FAILED)
    request.error.CopyFrom(_status(FAILED_PRECONDITION, reason, message))
    return request


def loss(lease: Lease, reason: str, message: str) -> FinishRunRequest:
    """Return the request that says that this worker could not go on."""
    request = _finish(lease, FinishRunRequest.OUTCOME_LOST)
    request.error.CopyFrom(_status(ABORTED, reason, message))
    return request


def shortage(
    lease: Lease, message: str, progress: Progress | None, facts: MemoryFacts
) -> FinishRunRequest:
    """Return the request that says that memory was not enough.

    Args:
        lease: Of the run.
        message: How that was said.
        progress: How far it was.
        facts: What is known besides.
    """
    request = _finish(lease, FinishRunRequest.OUTCOME_OUT_OF_MEMORY)
    request.error.CopyFrom(_status(RESOURCE_EXHAUSTED, OUT_OF_MEMORY, message))
    use, placement = request.memory, lease.placement
    use.profile = placement.profile
    use.parallel_plan.CopyFrom(placement.parallel_plan)
    use.phase = _phase(Phase.VALIDATE if progress is None else progress.phase)
    if facts.is_probe:  # A smaller layout helps, as it does in training.
        use.phase = _phase(Phase.TRAIN)
    seen = 0 if progress is None else progress.peak_bytes
    use.peak_bytes = max(facts.peak_bytes, seen)
    use.max_token_count = facts.max_token_count
    if progress is not None and progress.phase is Phase.TRAIN:
        use.step_count = max(facts.done, progress.done)
    use.checkpoint_step_count = facts.checkpoint_step
    return request


def cancellation(lease: Lease) -> FinishRunRequest:
    """Return the request that says that the run stopped as asked."""
    return _finish(lease, FinishRunRequest.OUTCOME_CANCELLED)


def halt(lease: Lease, question: Question | None) -> FinishRunRequest:
    """Return the request that says that the run halted and can be continued.

    Args:
        lease: Of the run.
        question: What a person must decide first; None when it halted as asked.
    """
    request = _finish(lease, FinishRunRequest.OUTCOME_PAUSED)
    if question is not None:
        request.question.reason = question.reason
        request.question.message = question.message[:QUESTION_CHARACTERS_MAX]
        finite = [one for one in question.figures.items() if math.isfinite(one[1])]
        for name, value in finite[:FIGURES_MAX]:
            request.question.figures.add(name=name, value=value)
    return request


def progress_to_proto(progress: Progress) -> scheduler_pb2.JobProgress:
    """Return how far a run is, as others read it."""
    message = scheduler_pb2.JobProgress(
        phase=_phase(progress.phase),
        done_count=progress.done,
        total_count=progress.total,
        loss=progress.loss,
    )
    if progress.remaining_s is not None:
        message.remaining_duration.FromMilliseconds(int(progress.remaining_s * 1000))
    return message


def run_to_proto(attempt: Attempt, manifest: Manifest, now: datetime) -> trainer_pb2.Run:
    """Return a run from the files of its newest attempt."""
    tracking = attempt.tracking() or {}
    run = trainer_pb2.Run(
        name=manifest.run,
        job=manifest.job,
        attempt=manifest.fence,
        mlflow_run=tracking.get("run", ""),
        mlflow_uri=tracking.get("uri", ""),
        ended=attempt.outcome() is not None,
    )
    progress = attempt.progress(now)
    if progress is not None:
        run.progress.CopyFrom(progress_to_proto(progress))
    # An attempt that took TRAIN over from an earlier one has it in the result.
    if resolved := attempt.resolved() or (attempt.result(Phase.TRAIN) or {}).get("resolved"):
        ParseDict(resolved, run.resolved_training)
    for timing in attempt.phases():
        message = run.phases.add(phase=_phase(timing.phase))
        message.start_time.FromDatetime(timing.start_time)
        if timing.end_time is not None:
            message.end_time.FromDatetime(timing.end_time)
    return run


def report_to_proto(name: str, page: Attempt, report: dict[str, Any]) -> trainer_pb2.RunReport:
    """Return the page about an evaluation.

    Args:
        name: Of the run.
        page: The attempt that wrote it.
        report: The figures as proto JSON.
    """
    message = trainer_pb2.RunReport(
        name=name,
        markdown=(page.folder / PAGE_MARKDOWN).read_text(encoding="utf-8"),
        html=(page.folder / PAGE_HTML).read_text(encoding="utf-8"),
    )
    ParseDict(report, message.report)
    return message


def metrics_to_proto(line: dict[str, Any]) -> trainer_pb2.MetricPoint:
    """Return one line of an attempt's metrics."""
    point = trainer_pb2.MetricPoint(step=line["step"], values=line["values"])
    point.time.FromDatetime(datetime.fromisoformat(line["time"]))
    return point


def sample_to_proto(line: dict[str, Any]) -> trainer_pb2.TrainingSample:
    """Return one line of an attempt's training samples."""
    sample = trainer_pb2.TrainingSample(
        step=line["step"],
        prompt=line["prompt"],
        reference=line["reference"],
        answer=line["answer"],
    )
    sample.create_time.FromDatetime(datetime.fromisoformat(line["time"]))
    return sample


def rows_from_request(rows: Sequence[str], most: int = ROWS_MAX) -> list[ShapedRow]:
    """Return rows taken apart.

    Args:
        rows: JSON objects.
        most: Rows that one request may hold.

    Raises:
        InvalidArgument: If there are too many, or some have no known shape; all those are named.
    """
    size = sum(len(row) for row in rows)
    if len(rows) > most or size > ROW_BYTES_MAX:
        text = f"{len(rows)} rows of {size} characters; at most {most} of 2 MiB. Send fewer."
        raise invalid([Violation("rows", "TOO_MANY", text)])
    parsed, violations = [], []
    for index, row in enumerate(rows):
        try:
            parsed.append(shape_row(json.loads(row)))
        except (ValueError, RecursionError) as error:
            text = f"Not a row to train on ({error}). Send messages, a prompt or text as JSON."
            violations.append(Violation(f"rows.{index}", "NOT_A_ROW", text))
    if violations:
        raise invalid(violations[:100])
    return parsed


def counts_to_proto(counts: Sequence[Counts]) -> list[TokenCount]:
    """Return token counts of rows."""
    return [
        TokenCount(
            token_count=one.total,
            trainable_token_count=one.trainable,
            prompt_token_count=one.prompt,
            answer_token_count=one.answer,
            rejected_token_count=one.rejected,
        )
        for one in counts
    ]


def previews_to_proto(previews: Sequence[Preview]) -> list[RenderedRow]:
    """Return rows as training sees them."""
    return [
        RenderedRow(
            text=one.text,
            token_ids=one.token_ids,
            token_texts=one.token_texts,
            trainable=one.trainable,
            cut_token_count=one.cut_count,
            trains_nothing=one.trains_nothing,
        )
        for one in previews
    ]


def _finish(lease: Lease, outcome: FinishRunRequest.Outcome.ValueType) -> FinishRunRequest:
    return FinishRunRequest(run=lease.run, fence=lease.fence, outcome=outcome)


def _status(code: int, reason: str, message: str) -> Status:
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason=reason, domain=DOMAIN))
    return Status(code=code, message=message, details=[detail])


def _phase(phase: Phase) -> scheduler_pb2.Phase.ValueType:
    return scheduler_pb2.Phase.Value(f"PHASE_{phase.name}")


def _to_json(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)
