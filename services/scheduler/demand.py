"""What each stage of a spec demands of hardware, read from the spec; pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from attune.scheduler.v1.scheduler_pb2 import DataShape
from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.spec_pb2 import Spec
from attune.spec.v1.stage_pb2 import Method, Stage, Technique

from services.common.errors import Violation, invalid
from services.scheduler.failed_layout import FailedLayout
from services.scheduler.lessons import NO_LESSONS, Lessons
from services.scheduler.memory import MemoryEstimate, Objective, Rollout
from services.scheduler.runtime import Batching, Generation, Workload

OBJECTIVES = {
    Technique.TECHNIQUE_SFT: Objective.SFT,
    Technique.TECHNIQUE_DPO: Objective.PREFERENCE,
    Technique.TECHNIQUE_RLVR: Objective.ONLINE,
    Technique.TECHNIQUE_RLAIF: Objective.ONLINE,
}
SIDE_BY_SIDE_MAX = 64
"""Answers that a device writes at once while a model learns online; more need too much cache."""
ADAPTER_METHODS = (Method.METHOD_LORA, Method.METHOD_QLORA, Method.METHOD_DORA)


@dataclass(frozen=True)
class Demand:
    """Everything that placement needs to know of one stage."""

    stage_index: int
    """Position of the stage in the spec, from 0."""
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
    has_penalty: bool = False
    """Whether online learning is held near its start, which asks for a reference."""
    failed: tuple[FailedLayout, ...] = ()
    """Layouts that ran out of memory before; placement avoids them."""
    lessons: Lessons = NO_LESSONS
    """What observed runs say of its memory."""
    memo: dict[Hashable, MemoryEstimate] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    """Memory by layout, as the formula gives it; a changed demand starts anew."""

    @property
    def row_count(self) -> int:
        """Sequences of one optimizer step, over all devices."""
        return self.workload.effective_batch_size

    @property
    def token_count(self) -> int:
        """Tokens of the longest sequence."""
        return self.workload.max_token_count

    @property
    def can_shard(self) -> bool:
        """Whether several devices may split the weights.

        Weights of 4 bits cannot be split, and whoever samples answers needs all of them.
        """
        return self.method != Method.METHOD_QLORA and self.objective is not Objective.ONLINE

    def rollout_of(self, batching: Batching) -> Rollout | None:
        """Return how answers are generated under some batching; None where none are."""
        generation = self.workload.generation
        if generation is None:
            return None
        rows = batching.micro_batch_size * batching.gradient_accumulation_steps
        return Rollout(
            prompt_token_count=generation.prompt_token_count,
            completion_token_count=generation.completion_token_count,
            concurrent_count=min(rows, SIDE_BY_SIDE_MAX),
            # An adapter that is switched off is its own reference.
            has_reference=self.has_penalty and self.method == Method.METHOD_FULL,
        )


class _Rule(NamedTuple):
    field: str
    value: float
    minimum: float


def read_demands(spec: Spec, shape: ModelShape | None, data_shape: DataShape) -> list[Demand]:
    """Return what the stages of a spec demand, in order; limits are those of all together.

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
    return [
        _demand(spec, index, stage, shape, data_shape) for index, stage in enumerate(spec.stages)
    ]


def _demand(
    spec: Spec, index: int, stage: Stage, shape: ModelShape, data_shape: DataShape
) -> Demand:
    limits, tuned = spec.limits, stage.hyperparameters
    return Demand(
        stage_index=index,
        shape=shape,
        method=stage.method,
        rank=tuned.lora.rank,
        target_modules=list(tuned.lora.target_modules),
        objective=OBJECTIVES[stage.technique],
        workload=_workload(spec, stage, data_shape),
        deadline_s=limits.deadline.ToNanoseconds() / 1e9 if limits.HasField("deadline") else None,
        cost_cap_micro_usd=(
            limits.cost_cap_micro_usd if limits.HasField("cost_cap_micro_usd") else None
        ),
        has_penalty=tuned.rl.kl_coefficient > 0,
    )


def _workload(spec: Spec, stage: Stage, data_shape: DataShape) -> Workload:
    rows, tuned = spec.data.train_row_count, stage.hyperparameters
    validation = round(rows * spec.data.validation_fraction)
    longest = min(data_shape.max_token_count or tuned.max_length, tuned.max_length)
    mean = data_shape.total_token_count / rows if data_shape.total_token_count else longest
    answers, generation = 1, None
    if OBJECTIVES[stage.technique] is Objective.ONLINE:
        # What learns are the answers: a group of them for each prompt.
        answers = tuned.rl.group_size
        prompt = min(
            data_shape.max_token_count or tuned.rl.max_prompt_length, tuned.rl.max_prompt_length
        )
        generation = Generation(prompt, tuned.rl.max_completion_length)
        longest = prompt + tuned.rl.max_completion_length
        mean = min(mean, prompt) + tuned.rl.max_completion_length / 2
    return Workload(
        train_row_count=max(rows - validation, 1) * answers,
        validation_row_count=validation,
        holdout_row_count=spec.data.holdout_row_count,
        mean_token_count=min(mean, longest),
        max_token_count=longest,
        epoch_count=tuned.epoch_count,
        effective_batch_size=tuned.effective_batch_size * answers,
        evaluations_per_epoch=tuned.evaluations_per_epoch,
        max_answer_tokens=spec.evaluation.max_answer_tokens,
        has_pairs=stage.technique == Technique.TECHNIQUE_DPO,
        step_count_max=tuned.max_step_count,
        generation=generation,
    )


def _violations(spec: Spec, shape: ModelShape | None, data_shape: DataShape) -> list[Violation]:
    found = []
    if not spec.stages:
        found.append(Violation("stages", "COUNT", "The spec has no stage. Add one."))
    if shape is None:
        text = (
            f"The shape of '{spec.base_model.id[:200]}' is unknown: it is in no catalogue and on "
            "no trainer. Choose a known model, or connect a trainer that has it at hand."
        )
        found.append(Violation("base_model.id", "UNKNOWN", text))
    for index, stage in enumerate(spec.stages):
        if stage.technique not in OBJECTIVES:
            name = Technique.Name(stage.technique).removeprefix("TECHNIQUE_")
            text = f"{name} cannot be estimated. Choose SFT, DPO, RLVR or RLAIF."
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
        if OBJECTIVES.get(stage.technique) is Objective.ONLINE:
            rules += [
                _Rule(f"{path}.rl.group_size", parameters.rl.group_size, 2),
                _Rule(f"{path}.rl.max_prompt_length", parameters.rl.max_prompt_length, 1),
                _Rule(f"{path}.rl.max_completion_length", parameters.rl.max_completion_length, 1),
            ]
    return rules
