"""Predicts how long training, scoring and a whole stage take; pure.

A forward pass costs 2 operations per parameter and token, a backward pass 4 when all weights learn
and 2 when only an adapter does; checkpointing repeats the forward pass; causal attention adds
6 x layers x width x length per token over all passes. Small models are ruled by the fixed time per
layer instead, so both are added up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.stage_pb2 import Method

from services.scheduler.memory import weight_bytes
from services.scheduler.profile import Profile

FORWARD_FLOPS = 2
ADAPTER_FLOPS = 4
"""Forward, and gradients of the activations only."""
FULL_FLOPS = 6
ATTENTION_FLOPS = 6
"""Per layer, unit of width, token and token before it; half of the square, over all passes."""
BANDWIDTH_SHARE = 0.7
"""Share of the memory bandwidth that a pass reaches."""
START_S = 5.0
"""Start of a run that is forked warm, data preparation, and the last files."""
DECODE_BATCH = 64
"""Answers that are generated side by side."""
BASELINE_PASSES = 2
"""The hold-out is answered by the base as it is and with examples in its prompt."""
EVALUATE_PASSES = 1


@dataclass(frozen=True)
class Workload:
    """What a stage has to work through."""

    train_row_count: int
    """Rows that are learnt, at least 1."""
    validation_row_count: int
    holdout_row_count: int
    mean_token_count: float
    """Tokens of an average row."""
    max_token_count: int
    """Tokens of the longest row."""
    epoch_count: float
    effective_batch_size: int
    evaluations_per_epoch: int
    max_answer_tokens: int


@dataclass(frozen=True)
class Batching:
    """How an optimizer step is split."""

    micro_batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool


@dataclass(frozen=True)
class TimeEstimate:
    """Expected times of a stage."""

    step_count: int
    step_s: float
    """Of one optimizer step, in seconds."""
    expected_s: float
    """Of the whole stage, scoring before and after included, in seconds."""


def step_count(workload: Workload, batching: Batching) -> int:
    """Return the optimizer steps, counted as the Hugging Face Trainer does."""
    passes = math.ceil(workload.train_row_count / batching.micro_batch_size)
    per_epoch = max(math.ceil(passes / batching.gradient_accumulation_steps), 1)
    return math.ceil(workload.epoch_count * per_epoch)


def estimate_time(
    shape: ModelShape,
    method: Method.ValueType,
    profile: Profile,
    workload: Workload,
    batching: Batching,
) -> TimeEstimate:
    """Return the expected times of a supervised stage on one device."""
    steps = step_count(workload, batching)
    per_step = batching.gradient_accumulation_steps * _pass_s(
        shape, method, profile, workload, batching
    )
    evaluations = max(1, round(workload.evaluations_per_epoch * workload.epoch_count))
    validation = evaluations * _forward_s(
        shape, profile, workload.validation_row_count * workload.mean_token_count
    )
    scoring = (BASELINE_PASSES + EVALUATE_PASSES) * _answers_s(shape, method, profile, workload)
    return TimeEstimate(steps, per_step, START_S + steps * per_step + validation + scoring)


def _pass_s(
    shape: ModelShape,
    method: Method.ValueType,
    profile: Profile,
    workload: Workload,
    batching: Batching,
) -> float:
    """Return the time of one forward and backward pass, in seconds."""
    length = workload.mean_token_count
    if batching.micro_batch_size > 1:
        # Rows are padded to the longest of their batch, which lies between mean and maximum.
        length = (length + workload.max_token_count) / 2
    tokens = batching.micro_batch_size * length
    per_parameter = FULL_FLOPS if method == Method.METHOD_FULL else ADAPTER_FLOPS
    if batching.gradient_checkpointing:
        per_parameter += FORWARD_FLOPS
    attention = ATTENTION_FLOPS * shape.layer_count * shape.hidden_size * length
    flops = tokens * (per_parameter * shape.parameter_count + attention)
    reads = per_parameter / FORWARD_FLOPS * weight_bytes(shape, method, profile.precision)
    busy = max(flops / profile.effective_flops_per_s, _move_s(reads, profile))
    return busy + shape.layer_count * profile.layer_overhead_s


def _forward_s(shape: ModelShape, profile: Profile, tokens: float) -> float:
    return FORWARD_FLOPS * shape.parameter_count * tokens / profile.effective_flops_per_s


def _answers_s(
    shape: ModelShape, method: Method.ValueType, profile: Profile, workload: Workload
) -> float:
    """Return the time to read every hold-out prompt and to write the longest answer to it."""
    rows = workload.holdout_row_count
    batches = math.ceil(rows / DECODE_BATCH)
    reading = _forward_s(shape, profile, rows * workload.mean_token_count)
    flops = FORWARD_FLOPS * shape.parameter_count * DECODE_BATCH
    weights = weight_bytes(shape, method, profile.precision)
    token = max(flops / profile.effective_flops_per_s, _move_s(weights, profile))
    token += shape.layer_count * profile.layer_overhead_s
    return reading + batches * workload.max_answer_tokens * token


def _move_s(size_bytes: float, profile: Profile) -> float:
    return size_bytes / (BANDWIDTH_SHARE * profile.bandwidth_bytes_per_s)
