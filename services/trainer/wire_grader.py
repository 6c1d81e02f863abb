"""Between grading's messages and what graders work with; pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from attune.spec.v1.grader_pb2 import Grader
from attune.trainer.v1.grader_pb2 import (
    GraderErrors,
    GraderMetadata,
    GraderResult,
    GraderSample,
    PlantedAnswers,
    RunGraderResponse,
    ValidateGraderResponse,
)

from services.common.errors import Violation, invalid
from services.trainer.data.rows import row_of
from services.trainer.grading.build import JUDGED, kinds_of
from services.trainer.grading.preflight import SAMPLES_MAX, Preflight
from services.trainer.grading.sample import Graded, Sample

RUN_MAX = 1000
RUN_COSTLY_MAX = 100
"""Samples of one call where a model or code is run, for which each takes long."""
VALIDATE_JUDGED_MAX = 12
SAMPLE_BYTES_MAX = 2 * 1024 * 1024
COSTLY = {*JUDGED, "python", "math"}


def run_count_max(grader: Grader) -> int:
    """Return how many samples one call of RunGrader may hold."""
    return RUN_COSTLY_MAX if kinds_of(grader) & COSTLY else RUN_MAX


def validate_count_max(*graders: Grader) -> int:
    """Return how many samples one call of ValidateGrader may hold."""
    kinds = set().union(*(kinds_of(grader) for grader in graders))
    return VALIDATE_JUDGED_MAX if kinds & set(JUDGED) else SAMPLES_MAX


def samples_from_request(samples: Sequence[GraderSample], most: int) -> list[Sample]:
    """Return what is to be graded.

    Args:
        samples: As they came.
        most: How many there may be.

    Raises:
        InvalidArgument: If there are too many, or some are no JSON; all those are named.
    """
    size = sum(each.ByteSize() for each in samples)
    if len(samples) > most or size > SAMPLE_BYTES_MAX:
        text = f"{len(samples)} samples of {size:,} bytes; at most {most} of 2 MiB. Send fewer."
        raise invalid([Violation("samples", "TOO_MANY", text)])
    read, violations = [], []
    for index, each in enumerate(samples):
        try:
            read.append(_sample(each))
        except (ValueError, RecursionError) as error:
            text = f"{error}. Send the row as a JSON object, and tool calls as a JSON list of them."
            violations.append(Violation(f"samples.{index}", "NOT_A_SAMPLE", text))
    if violations:
        raise invalid(violations[:100])
    return read


def graded_to_proto(
    grader: Grader, graded: Sequence[Graded], execution_s: float
) -> RunGraderResponse:
    """Return the results of a batch."""
    kind = grader.WhichOneof("kind") or ""
    scored = [each.score for each in graded if each.score is not None]
    return RunGraderResponse(
        results=[_result(each) for each in graded],
        metadata=GraderMetadata(
            name=grader.name,
            type=kind,
            execution_s=execution_s,
            sampled_model_name=getattr(grader, kind).model if kind in JUDGED else "",
            token_usage=sum(each.token_count for each in graded),
            mean_reward=sum(scored) / len(scored) if scored else None,
            error_count=len(graded) - len(scored),
        ),
    )


def preflight_to_proto(found: Preflight) -> ValidateGraderResponse:
    """Return what was found out about a grader."""
    return ValidateGraderResponse(
        passed=not found.problems,
        problems=found.problems,
        notices=found.notices,
        sample_count=found.sample_count,
        changed_count=found.changed_count,
        error_count=found.error_count,
        latency_p50_s=found.latency_p50_s,
        latency_p95_s=found.latency_p95_s,
        reference_mean=found.reference_mean,
        planted=[PlantedAnswers(kind=one.kind, mean_score=one.mean_score) for one in found.planted],
        agreement=found.agreement,
    )


def _sample(message: GraderSample) -> Sample:
    item: Any = json.loads(message.item)
    if not isinstance(item, dict):
        raise ValueError("The row is no JSON object")
    tools: Any = json.loads(message.output_tools) if message.output_tools else []
    if not isinstance(tools, list) or not all(isinstance(each, dict) for each in tools):
        raise ValueError("output_tools is no JSON list of objects")
    row = row_of(item)
    item = item if row is None else row.sample("").item
    given = message.HasField("output_text")
    return Sample(
        message.output_text if given else str(item.get("reference", "")),
        item,
        tools,
        message.base_text if message.HasField("base_text") else None,
    )


def _result(graded: Graded) -> GraderResult:
    errors = GraderErrors()
    if graded.fault is not None:
        setattr(errors, graded.fault.value, True)
    return GraderResult(
        reward=graded.score,
        sub_rewards=graded.scores,
        errors=errors,
        error=graded.error,
        token_usage=graded.token_count,
    )
