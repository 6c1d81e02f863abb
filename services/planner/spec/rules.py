"""Ranges and relations of a spec's fields, as the comments of its proto state them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from attune.spec.v1 import spec_pb2, stage_pb2
from google.protobuf.message import Message

from services.common.errors import Violation
from services.common.names import project_of
from services.planner.spec.grader_rules import grader_violations, reward_violations
from services.planner.spec.path import as_text, is_output_only, is_required, resolve
from services.planner.vocabulary import Task

VIOLATIONS_MAX = 100
SHARED, DEDICATED = "shared", "dedicated"
TARGETS = (SHARED, DEDICATED, "sagemaker", "bedrock")
"""Deploy targets that serving has; which of them an installation offers, it says itself."""
ALIAS = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
DATASET = re.compile(
    r"projects/[a-z]([a-z0-9-]{0,61}[a-z0-9])?/datasets/[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
)


@dataclass(frozen=True)
class Range:
    """Allowed numbers of a field."""

    low: float
    """Smallest; not allowed itself when open_low."""
    high: float
    """Largest; not allowed itself when open_high."""
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Return whether the number is allowed."""
        if not math.isfinite(value):
            return False
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"{left}{as_text(self.low)}, {as_text(self.high)}{right}"


HYPERPARAMETER_RANGES = {
    "learning_rate": Range(0, 0.1, open_low=True),
    "warmup_ratio": Range(0, 0.5),
    "weight_decay": Range(0, 1),
    "max_gradient_norm": Range(0, 100, open_low=True),
    "epoch_count": Range(0.1, 100),
    "effective_batch_size": Range(1, 4096),
    "seed": Range(0, 2**31 - 1),
    "evaluations_per_epoch": Range(1, 100),
    "early_stopping_patience": Range(1, 1000),
    "lora.rank": Range(1, 512),
    "lora.alpha": Range(1, 1024),
    "lora.dropout": Range(0, 0.9),
    "dpo.beta": Range(0, 10, open_low=True),
    "dpo.label_smoothing": Range(0, 0.5, open_high=True),
    "rl.group_size": Range(2, 64),
    "rl.temperature": Range(0, 2, open_low=True),
    "rl.top_p": Range(0, 1, open_low=True),
    "rl.kl_coefficient": Range(0, 1),
    "rl.clip_low": Range(0, 1, open_low=True, open_high=True),
    "rl.clip_high": Range(0, 1, open_low=True, open_high=True),
    "max_step_count": Range(1, 10_000_000),
}
LENGTH_MIN = 16
CONTEXT_UNKNOWN = 131_072
"""Bound of lengths, in tokens, while nothing is known of the base model: that of most open models
since 2024."""
ROWS_MAX = 10_000_000
LANGUAGE = re.compile(r"[a-z]{2}")
FIELD_RANGES = {
    "data.holdout_fraction": Range(0.02, 0.5),
    "data.validation_fraction": Range(0.02, 0.5),
    "data.split_seed": Range(0, 2**31 - 1),
    "data.holdout_rows": Range(1, ROWS_MAX),
    "evaluation.few_shot_example_count": Range(0, 16),
    "evaluation.bootstrap_resample_count": Range(100, 100_000),
    "evaluation.confidence": Range(0.5, 0.999),
    "evaluation.seed": Range(0, 2**31 - 1),
    "serving.parity_tolerance": Range(0, 1, open_low=True),
    "limits.cost_cap_micro_usd": Range(0, 10**15),
}
TEXT_LENGTHS = {
    "display_name": (0, 120),
    "objective.problem": (1, 2000),
    "objective.users": (0, 500),
    "evaluation.general_ability_check": (0, 4000),
    "maintenance.drift_trigger": (0, 500),
    "maintenance.when_superseded": (0, 500),
}
LOSSES = {
    "dpo.loss_type": (
        "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard",
        "aot", "aot_unpaired", "discopop", "apo_zero", "apo_down",
    ),
    "rl.loss_type": ("grpo", "dapo", "bnpo", "dr_grpo"),
}  # fmt: skip
"""Losses in TRL's words, by hyperparameter."""
STAGES_MAX = 4
LANGUAGES_MAX = 20
EXAMPLES_MAX = 3
EXAMPLE_CHARACTERS_MAX = 1000


def context_of(spec: spec_pb2.Spec) -> int:
    """Return the context length of a spec's base model in tokens, at least 16."""
    return max(spec.base_model.context_length or CONTEXT_UNKNOWN, LENGTH_MIN)


def range_of(spec: spec_pb2.Spec, path: str) -> Range | None:
    """Return the allowed numbers of a field, or None when it is not a number.

    Args:
        spec: Bounds lengths by its base model's context.
        path: Such as `stages.0.hyperparameters.learning_rate`.
    """
    context_length = context_of(spec)
    if path in FIELD_RANGES:
        return FIELD_RANGES[path]
    if path == "evaluation.max_answer_tokens":
        return Range(1, context_length)
    if path.startswith("objective.success_criteria.") and path.endswith(".target"):
        return Range(0, 1)
    _, _, name = path.partition(".hyperparameters.")
    if name == "max_length":
        return Range(LENGTH_MIN, context_length)
    if name in ("rl.max_prompt_length", "rl.max_completion_length"):
        return Range(1, context_length)
    return HYPERPARAMETER_RANGES.get(name)


def violations(spec: spec_pb2.Spec) -> list[Violation]:
    """Return every rule that a spec breaks, at most 100."""
    found = [*_missing(spec, ""), *_numbers(spec), *_texts(spec), *_objective(spec)]
    found += [*_data(spec), *_evaluation(spec), *_serving(spec)]
    if len(spec.stages) > STAGES_MAX:
        found.append(Violation("stages", "COUNT", "At most four stages run one after another."))
    for index, stage in enumerate(spec.stages):
        found += [*_stage(stage, f"stages.{index}."), *_lengths(spec, index)]
        found += _chained(spec, index)
    return found[:VIOLATIONS_MAX]


def _missing(message: Message, path: str) -> Iterator[Violation]:
    """Yield required fields that are not set, in every message that is."""
    for field in message.DESCRIPTOR.fields:
        if is_output_only(field):
            continue
        place = resolve(message, field.name)
        if is_required(field) and not place.is_set:
            text = "This field is required and has no value. Set it."
            yield Violation(path + field.name, "REQUIRED", text)
        if field.message_type is None or not place.is_set:
            continue
        items = enumerate(place.value) if field.is_repeated else [("", place.value)]
        for index, item in items:
            if item.DESCRIPTOR.full_name.startswith("attune."):
                step = f"{field.name}.{index}." if field.is_repeated else f"{field.name}."
                yield from _missing(item, path + step)


def _numbers(spec: spec_pb2.Spec) -> Iterator[Violation]:
    paths = [*FIELD_RANGES, "evaluation.max_answer_tokens"]
    names = [*HYPERPARAMETER_RANGES, "max_length"]
    names += ["rl.max_prompt_length", "rl.max_completion_length"]
    for index in range(len(spec.stages)):
        paths += [f"stages.{index}.hyperparameters.{name}" for name in names]
    criteria = range(len(spec.objective.success_criteria))
    paths += [f"objective.success_criteria.{index}.target" for index in criteria]
    for path in paths:
        place, allowed = resolve(spec, path), range_of(spec, path)
        if place.is_set and allowed is not None and not allowed.holds(place.value):
            text = f"{as_text(place.value)} is not in {allowed}. Choose a number in that range."
            yield Violation(path, "RANGE", text)


def _texts(spec: spec_pb2.Spec) -> Iterator[Violation]:
    for path, (low, high) in TEXT_LENGTHS.items():
        length = len(resolve(spec, path).value)
        if not low <= length <= high:
            text = f"{length:,} characters; {low} to {high:,} are allowed. Shorten it."
            yield Violation(path, "LENGTH", text)
    for path, entries, count, length in (
        ("objective.out_of_scope", spec.objective.out_of_scope, 10, 200),
        ("data.guidelines.dos", spec.data.guidelines.dos, 10, 500),
        ("data.guidelines.donts", spec.data.guidelines.donts, 10, 500),
    ):
        if len(entries) > count or any(len(entry) > length for entry in entries):
            text = f"At most {count} entries of {length} characters are allowed. Shorten it."
            yield Violation(path, "LENGTH", text)
    for path, examples in (
        ("data.guidelines.good_examples", spec.data.guidelines.good_examples),
        ("data.guidelines.bad_examples", spec.data.guidelines.bad_examples),
    ):
        limit = EXAMPLE_CHARACTERS_MAX
        long = any(len(each.prompt) > limit or len(each.answer) > limit for each in examples)
        if len(examples) > EXAMPLES_MAX or long:
            text = f"At most {EXAMPLES_MAX} examples of {limit:,} characters. Shorten them."
            yield Violation(path, "LENGTH", text)


def _objective(spec: spec_pb2.Spec) -> Iterator[Violation]:
    criteria = spec.objective.success_criteria
    names = [grader.name for grader in spec.evaluation.graders]
    task, languages = spec.objective.task, spec.objective.languages
    if task and task not in list(Task):
        text = f"'{task[:80]}' is not a kind of task. Use one of: {', '.join(Task)}."
        yield Violation("objective.task", "UNKNOWN_TASK", text)
    if len(languages) > LANGUAGES_MAX or not all(LANGUAGE.fullmatch(each) for each in languages):
        text = f"At most {LANGUAGES_MAX} codes of two letters, such as `de`. Correct them."
        yield Violation("objective.languages", "LANGUAGE", text)
    if len(criteria) > 5:
        text = f"{len(criteria)} criteria; at most five are allowed. Keep those that decide."
        yield Violation("objective.success_criteria", "COUNT", text)
    for index, criterion in enumerate(criteria):
        path = f"objective.success_criteria.{index}."
        if len(criterion.title) > 120:
            yield Violation(path + "title", "LENGTH", "At most 120 characters. Shorten it.")
        if criterion.metric and criterion.metric not in names:
            text = f"'{criterion.metric}' is no grader of this spec. Name one of: " + ", ".join(
                names
            )
            yield Violation(path + "metric", "UNKNOWN_GRADER", text)


def _data(spec: spec_pb2.Spec) -> Iterator[Violation]:
    data = spec.data
    for path, name in (
        ("data.dataset", data.dataset),
        ("data.holdout_dataset", data.holdout_dataset),
    ):
        if name and not DATASET.fullmatch(name):
            text = f"'{name[:200]}' is not of the form projects/{{project}}/datasets/{{dataset}}."
            yield Violation(path, "RESOURCE_NAME", text)
        elif name and spec.name and project_of(name) != project_of(spec.name):
            text = f"'{name}' belongs to another project than the plan. Name one of its own."
            yield Violation(path, "OTHER_PROJECT", text)
    same = data.dataset and data.dataset == data.holdout_dataset
    if same or (data.dataset_sha256 and data.dataset_sha256 == data.holdout_sha256):
        text = "The hold-out holds the training rows themselves. Name other, unseen rows."
        yield Violation("data.holdout_dataset", "SAME_DATASET", text)

    rows = data.train_row_count + data.holdout_row_count
    drawn = data.split_method == spec_pb2.Data.SPLIT_METHOD_RANDOM
    if drawn and data.HasField("holdout_rows") and 0 < rows <= data.holdout_rows:
        text = f"{data.holdout_rows:,} of {rows:,} rows leaves none to learn from. Hold out fewer."
        yield Violation("data.holdout_rows", "RANGE", text)


def _evaluation(spec: spec_pb2.Spec) -> Iterator[Violation]:
    graders = spec.evaluation.graders
    if len(graders) > 8:
        yield Violation("evaluation.graders", "COUNT", "At most eight graders. Keep fewer.")
    seen: set[str] = set()
    for index, grader in enumerate(graders):
        yield from grader_violations(grader, f"evaluation.graders.{index}.", seen)


def _serving(spec: spec_pb2.Spec) -> Iterator[Violation]:
    alias, target = spec.serving.alias, spec.serving.target
    if alias and not ALIAS.fullmatch(alias):
        text = f"'{alias[:80]}' is not an alias of the form {ALIAS.pattern}."
        yield Violation("serving.alias", "NAME", text)
    if target and target not in TARGETS:
        text = f"'{target[:80]}' is no deploy target. Use one of: {', '.join(TARGETS)}."
        yield Violation("serving.target", "UNKNOWN_TARGET", text)
    if spec.limits.HasField("deadline") and spec.limits.deadline.ToSeconds() <= 0:
        text = "The deadline must lie ahead. Give a longer time or leave it out."
        yield Violation("limits.deadline", "RANGE", text)


def _stage(stage: stage_pb2.Stage, path: str) -> Iterator[Violation]:
    tuned = stage.hyperparameters
    inside = path + "hyperparameters."
    adapters = (stage_pb2.METHOD_LORA, stage_pb2.METHOD_QLORA, stage_pb2.METHOD_DORA)
    reinforced = stage.technique in (stage_pb2.TECHNIQUE_RLVR, stage_pb2.TECHNIQUE_RLAIF)
    method = stage_pb2.Method.Name(stage.method)
    technique = stage_pb2.Technique.Name(stage.technique)
    needs = (
        (stage.method in adapters, tuned.HasField("lora"), inside + "lora", method),
        (
            stage.technique == stage_pb2.TECHNIQUE_DPO,
            tuned.HasField("dpo"),
            inside + "dpo",
            technique,
        ),
        (reinforced, tuned.HasField("rl"), inside + "rl", technique),
        (reinforced, stage.HasField("reward"), path + "reward", technique),
    )
    for wanted, present, field, reason in needs:
        if wanted and not present:
            yield Violation(field, "REQUIRED", f"{reason} needs it. Set it.")
        if present and not wanted:
            yield Violation(field, "NOT_ALLOWED", f"{reason} does not use it. Leave it out.")
    if stage.technique == stage_pb2.TECHNIQUE_SFT and not tuned.HasField("assistant_only_loss"):
        text = "TECHNIQUE_SFT needs it. Set it to true to learn only the answers."
        yield Violation(inside + "assistant_only_loss", "REQUIRED", text)
    if tuned.packing and stage.technique != stage_pb2.TECHNIQUE_SFT:
        text = f"{technique} compares whole answers, which share no sequence. Leave it out."
        yield Violation(inside + "packing", "NOT_ALLOWED", text)
    if stage.HasField("reward"):
        yield from reward_violations(stage.reward, path + "reward.")


def _chained(spec: spec_pb2.Spec, index: int) -> Iterator[Violation]:
    """Yield in what a stage's adapter differs from the first one, which it goes on training."""
    first, stage = spec.stages[0], spec.stages[index]
    if index == 0:
        return
    if stage.method != first.method or stage.method == stage_pb2.METHOD_FULL:
        text = (
            "All stages of a plan train one adapter. Give them the same method, LORA, QLORA or "
            "DORA, or keep one stage."
        )
        yield Violation(f"stages.{index}.method", "CHAIN", text)
        return
    old, new = first.hyperparameters.lora, stage.hyperparameters.lora
    for name in sorted(field.name for field in new.DESCRIPTOR.fields if field.name != "dropout"):
        before, now = getattr(old, name), getattr(new, name)
        if name == "target_modules":
            before, now = sorted(before), sorted(now)
        if before != now:
            text = (
                f"{now} is not the {before} of the first stage, whose adapter this one goes on "
                "training. Make them equal."
            )
            yield Violation(f"stages.{index}.hyperparameters.lora.{name}", "CHAIN", text)


def _lengths(spec: spec_pb2.Spec, index: int) -> Iterator[Violation]:
    """Yield what does not fit into the context, and losses that nobody has."""
    tuned, path = spec.stages[index].hyperparameters, f"stages.{index}.hyperparameters."
    context_length = context_of(spec)
    both = tuned.rl.max_prompt_length + tuned.rl.max_completion_length
    if both > context_length:
        text = (
            f"Prompt and completion take {both:,} tokens, and the base model's context has "
            f"{context_length:,}. Shorten one of them."
        )
        yield Violation(path + "rl.max_completion_length", "CONTEXT", text)
    for name, known in LOSSES.items():
        part, _, field = name.partition(".")
        loss = getattr(getattr(tuned, part), field)
        if loss and loss not in known:
            text = f"'{loss[:80]}' is not a loss here. Use one of: {', '.join(known)}."
            yield Violation(path + name, "UNKNOWN_LOSS", text)
