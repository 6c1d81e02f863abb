"""What one stage of a spec demands of hardware, read from the spec; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from attune.scheduler.v1.scheduler_pb2 import DataShape
from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.spec_pb2 import Spec
from attune.spec.v1.stage_pb2 import Method, Stage, Technique

from services.common.errors import Violation, invalid
from services.scheduler.layout import FailedLayout
from services.scheduler.lessons import NO_LESSONS, Lessons
from services.scheduler.memory import Objective
from services.scheduler.runtime import Workload

OBJECTIVES = {
    Technique.TECHNIQUE_SFT: Objective.SFT,
    Technique.TECHNIQUE_DPO: Objective.PREFERENCE,
}
"""Of the techniques that can be estimated."""
ADAPTER_METHODS = (Method.METHOD_LORA, Method.METHOD_QLORA, Method.METHOD_DORA)


@dataclass(frozen=True)
class Demand:
    """Everything that placement needs to know of a spec."""

    shape: ModelShape
    method: Method.ValueType
    rank: int
    target_modules: list[str]
    objective: Objective
    workload: Workload
    deadline_s: float | None
    """Longest time from start to result, in seconds; None without a limit."""
    cost_cap_micro_usd: int | None
    """Highest cost; None without a limit."""
    failed: tuple[FailedLayout, ...] = ()
    """Layouts that ran out of memory before; placement avoids them."""
    lessons: Lessons = NO_LESSONS
    """What observed runs say of its memory."""


class _Rule(NamedTuple):
    field: str
    value: float
    minimum: float


def read_demand(spec: Spec, shape: ModelShape | None, data_shape: DataShape) -> Demand:
    """Return what the one stage of a spec demands.

    Args:
        spec: A spec; its `compute` is not looked at.
        shape: Of its base model; None when nobody knows it.
        data_shape: Of its rows; 0 where unknown, and the maximum length is assumed.

    Raises:
        InvalidArgument: With every field that an estimate needs and cannot use.
    """
    found = _violations(spec, shape, data_shape)
    if found or shape is None:
        raise invalid(found)
    stage, limits = spec.stages[0], spec.limits
    return Demand(
        shape=shape,
        method=stage.method,
        rank=stage.hyperparameters.lora.rank,
        target_modules=list(stage.hyperparameters.lora.target_modules),
        objective=OBJECTIVES[stage.technique],
        workload=_workload(spec, stage, data_shape),
        deadline_s=limits.deadline.ToNanoseconds() / 1e9 if limits.HasField("deadline") else None,
        cost_cap_micro_usd=(
            limits.cost_cap_micro_usd if limits.HasField("cost_cap_micro_usd") else None
        ),
    )


def _workload(spec: Spec, stage: Stage, data_shape: DataShape) -> Workload:
    rows, parameters = spec.data.train_row_count, stage.hyperparameters
    validation = round(rows * spec.data.validation_fraction)
    longest = min(data_shape.max_token_count or parameters.max_length, parameters.max_length)
    mean = data_shape.total_token_count / rows if data_shape.total_token_count else longest
    return Workload(
        train_row_count=max(rows - validation, 1),
        validation_row_count=validation,
        holdout_row_count=spec.data.holdout_row_count,
        mean_token_count=min(mean, longest),
        max_token_count=longest,
        epoch_count=parameters.epoch_count,
        effective_batch_size=parameters.effective_batch_size,
        evaluations_per_epoch=parameters.evaluations_per_epoch,
        max_answer_tokens=spec.evaluation.max_answer_tokens,
        has_pairs=stage.technique == Technique.TECHNIQUE_DPO,
    )


def _violations(spec: Spec, shape: ModelShape | None, data_shape: DataShape) -> list[Violation]:
    found = []
    if len(spec.stages) != 1:
        text = f"The spec has {len(spec.stages)} stages; only one stage runs yet. Keep one."
        found.append(Violation("stages", "COUNT", text))
    if shape is None:
        text = (
            f"The shape of '{spec.base_model.id[:200]}' is unknown: it is in no catalogue and on "
            "no trainer. Choose a known model, or connect a trainer that has it at hand."
        )
        found.append(Violation("base_model.id", "UNKNOWN", text))
    for index, stage in enumerate(spec.stages):
        if stage.technique not in OBJECTIVES:
            name = Technique.Name(stage.technique).removeprefix("TECHNIQUE_")
            text = f"{name} cannot be estimated yet. Choose SFT or DPO."
            found.append(Violation(f"stages.{index}.technique", "UNSUPPORTED", text))
    for rule in _rules(spec, data_shape):
        if not rule.value >= rule.minimum:
            text = f"{rule.value:g} is less than {rule.minimum:g}, or was left out. Set it."
            found.append(Violation(rule.field, "RANGE", text))
    return found


def _rules(spec: Spec, data_shape: DataShape) -> list[_Rule]:
    rules = [
        _Rule("data.train_row_count", spec.data.train_row_count, 1),
        _Rule("data.holdout_row_count", spec.data.holdout_row_count, 0),
        _Rule("evaluation.max_answer_tokens", spec.evaluation.max_answer_tokens, 1),
        _Rule("data_shape.max_token_count", data_shape.max_token_count, 0),
        _Rule("data_shape.total_token_count", data_shape.total_token_count, 0),
    ]
    for index, stage in enumerate(spec.stages):
        path, parameters = f"stages.{index}.hyperparameters", stage.hyperparameters
        rules += [
            _Rule(f"{path}.effective_batch_size", parameters.effective_batch_size, 1),
            _Rule(f"{path}.max_length", parameters.max_length, 16),
            _Rule(f"{path}.epoch_count", parameters.epoch_count, 0.1),
            _Rule(f"{path}.evaluations_per_epoch", parameters.evaluations_per_epoch, 1),
        ]
        if stage.method in ADAPTER_METHODS:
            rules.append(_Rule(f"{path}.lora.rank", parameters.lora.rank, 1))
    return rules
