"""The logical field paths of the evaluation set, mapped once onto the spec's proto."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attune.spec.v1 import grader_pb2, spec_pb2, stage_pb2
from google.protobuf.message import Message

SECONDS_PER_HOUR = 3600
BILLION = 1e9
UNCOUNTED = {
    "name", "revision", "hash", "etag", "state", "create_time", "update_time", "approval",
    "conversation", "compute", "choices", "notices", "display_name",
}  # fmt: skip
"""Fields of a spec that never count as a change."""
HYPERPARAMETERS = {
    "learning_rate": "learning_rate",
    "epochs": "epoch_count",
    "max_steps": "max_step_count",
    "batch_size": "effective_batch_size",
    "lora_rank": "lora.rank",
    "lora_alpha": "lora.alpha",
    "lora_dropout": "lora.dropout",
    "beta": "dpo.beta",
    "loss": "dpo.loss_type",
    "group_size": "rl.group_size",
    "temperature": "rl.temperature",
    "kl_coefficient": "rl.kl_coefficient",
    "max_length": "max_length",
    "max_completion_length": "rl.max_completion_length",
    "scheduler": "schedule",
    "weight_decay": "weight_decay",
    "seed": "seed",
}
PATHS = {
    "verdict": "verdict",
    "technique": "stages.0.technique",
    "method": "stages.0.method",
    "objective.problem": "objective.problem",
    "objective.task": "objective.task",
    "constraints.deadline_hours": "limits.deadline",
    "constraints.max_params_b": "base_model.parameter_count",
    "base_model.id": "base_model.id",
    "base_model.params_b": "base_model.parameter_count",
    "base_model.licence": "base_model.licence",
    "data.format": "data.format",
    "data.holdout_rows": "data.holdout_rows",
    "data.preparation": "data.preparation_steps",
    "data.*": "data",
    "reward.graders": "stages.0.reward",
    "reward.weights": "stages.0.reward",
    "reward.rubric": "stages.0.reward",
    "reward.judge_model": "stages.0.reward",
    "reward.judge_temperature": "stages.0.reward",
    "reward.*": "stages.0.reward",
    "hyperparameters.*": "stages.0.hyperparameters",
    "evaluation.graders": "evaluation.graders",
    "evaluation.target": "objective.success_criteria.0.target",
    "evaluation.*": "evaluation",
    **{f"hyperparameters.{k}": f"stages.0.hyperparameters.{v}" for k, v in HYPERPARAMETERS.items()},
}
"""Logical path to a path, or the beginning of one, in `attune.spec.v1.Spec`."""
FOLLOWING = {
    "data.holdout_rows": (
        "data.holdout_fraction",
        "data.holdout_row_count",
        "data.train_row_count",
        "data.minimum_detectable_difference",
        "maintenance.drift_trigger",
    ),
    "evaluation.graders": ("objective.success_criteria.",),
}
"""What says the same in other words: a size as a share, a grader's own criterion."""
LOSS = "hyperparameters.loss"
RL_LOSS = "stages.0.hyperparameters.rl.loss_type"
"""The evaluation set has one name for the loss of either technique."""
KIND_NAMES = {"string_check": ("string_check", "exact_match"), "math": ("math", "exact_match")}
"""Graders of the spec that stand for another name of the evaluation set too."""


def value_of(spec: spec_pb2.Spec, path: str) -> Any:
    """Return a logical field's value; None when the spec has none."""
    if path == "verdict":
        name = spec_pb2.Verdict.Recommendation.Name(spec.verdict.recommendation)
        return {"RETRIEVE": "RETRIEVAL"}.get(name.removeprefix("RECOMMENDATION_"), name[15:])
    if path == "constraints.deadline_hours":
        limit = spec.limits.deadline.seconds if spec.limits.HasField("deadline") else None
        return None if limit is None else limit / SECONDS_PER_HOUR
    if path in ("base_model.params_b", "constraints.max_params_b"):
        return spec.base_model.parameter_count / BILLION
    if path == LOSS:
        tuned = spec.stages[0].hyperparameters if spec.stages else None
        return tuned and (tuned.rl.loss_type or tuned.dpo.loss_type)
    if path == "data.holdout_rows":
        return spec.data.holdout_rows or spec.data.holdout_row_count
    if path.startswith("reward."):
        return _reward(spec, path.removeprefix("reward."))
    if path == "evaluation.graders":
        return sorted(grader_kinds(spec.evaluation.graders))
    value: Any = spec
    for part in PATHS[path].split("."):
        if part.isdigit():
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = getattr(value, part, None)
        if value is None:
            return None
    return _named(path, value)


def _named(path: str, value: Any) -> Any:
    enums: dict[str, tuple[Callable[[int], str], str]] = {
        "technique": (stage_pb2.Technique.Name, "TECHNIQUE_"),
        "method": (stage_pb2.Method.Name, "METHOD_"),
        "hyperparameters.scheduler": (stage_pb2.Hyperparameters.Schedule.Name, "SCHEDULE_"),
    }
    if path in enums:
        name, prefix = enums[path]
        return name(value).removeprefix(prefix)
    return value


def grader_kinds(graders: Any) -> set[str]:
    """Return every name of the evaluation set that some graders stand for."""
    found: set[str] = set()
    for grader in graders:
        kind = grader.WhichOneof("kind")
        found |= {grader.name, *KIND_NAMES.get(kind, (kind,))}
        if kind == "text_similarity":
            found.add(grader.text_similarity.evaluation_metric)
        if kind == "json_schema" and grader.json_schema.reference:
            found.add("exact_match")
        if kind == "multi":
            found |= grader_kinds(grader.multi.graders)
        if kind == "python":
            found.add("unit_tests")
    return found


def metrics_of(spec: spec_pb2.Spec) -> set[str]:
    """Return the names of all graders and metrics of a plan."""
    found = grader_kinds(spec.evaluation.graders)
    for stage in spec.stages:
        found |= grader_kinds(each.grader for each in stage.reward.graders)
    for criterion in spec.objective.success_criteria:
        found.add(criterion.metric)
        if criterion.aggregate == spec_pb2.SuccessCriterion.AGGREGATE_MACRO_F1:
            found.add("macro_f1")
    return found


def _reward(spec: spec_pb2.Spec, name: str) -> Any:
    weighted = [each for stage in spec.stages for each in stage.reward.graders]
    if name == "graders":
        return sorted(grader_kinds(each.grader for each in weighted))
    if name == "weights":
        return {
            key: each.weight
            for each in weighted
            for key in (each.grader.name, each.grader.WhichOneof("kind"))
        }
    texts = [text for each in weighted for text in _judge_texts(each.grader)]
    if name == "rubric":
        return "\n".join(texts)
    judges = [each.grader.score_model for each in weighted if each.grader.HasField("score_model")]
    if not judges:
        return None
    return judges[0].model if name == "judge_model" else judges[0].sampling.temperature


def _judge_texts(grader: grader_pb2.Grader) -> Iterator[str]:
    for judge in (grader.score_model, grader.label_model):
        yield from (message.content for message in judge.input)
    if grader.HasField("win_rate"):
        yield grader.win_rate.criteria


def user_paths(spec: spec_pb2.Spec) -> set[str]:
    """Return the proto paths that a person decided."""
    source = spec_pb2.Choice.SOURCE_USER
    return {choice.field_path for choice in spec.choices if choice.source == source}


def is_users(spec: spec_pb2.Spec, path: str) -> bool:
    """Return whether a logical field's source is the person."""
    prefix = PATHS[path]
    return any(each == prefix or each.startswith(f"{prefix}.") for each in user_paths(spec))


def changed_paths(before: spec_pb2.Spec, after: spec_pb2.Spec) -> list[str]:
    """Return the proto paths of all decisions that differ."""
    left, right = dict(_leaves(before)), dict(_leaves(after))
    paths = sorted(left.keys() | right.keys())
    return [path for path in paths if left.get(path) != right.get(path)]


def _leaves(message: Message, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for descriptor, value in message.ListFields():
        if not prefix and descriptor.name in UNCOUNTED:
            continue
        path = f"{prefix}{descriptor.name}"
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            yield path, list(value) if isinstance(value, (list, tuple)) else str(value)
        elif isinstance(value, Message):
            yield from _leaves(value, f"{path}.")
        else:
            for index, each in enumerate(value):
                yield from _leaves(each, f"{path}.{index}.")


def covers(logical: str, path: str) -> bool:
    """Return whether a proto path belongs to a logical one."""
    for prefix in _prefixes(logical):
        for stage in range(4):
            here = prefix.replace("stages.0", f"stages.{stage}")
            if path == here or path.startswith(f"{here}."):
                return True
    return False


def follows(logical: str, path: str) -> bool:
    """Return whether a proto path only restates a logical one that may change."""
    return any(path.startswith(each) for each in FOLLOWING.get(logical, ()))


def _prefixes(logical: str) -> set[str]:
    """Return the proto paths of a logical one; `x.*` stands for all under `x`."""
    if logical in PATHS:
        return {PATHS[logical], RL_LOSS} if logical == LOSS else {PATHS[logical]}
    stem = logical.removesuffix(".*")
    return {PATHS[each] for each in PATHS if each.startswith(f"{stem}.")} | {stem}
