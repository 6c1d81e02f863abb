"""Predicts how long training, scoring and a whole stage take; pure.

A forward pass costs 2 operations per parameter that a token passes and token, a backward pass 4
when all weights learn and 2 when only an adapter does; checkpointing repeats the forward pass;
causal attention adds to each. Beside the operations stand the bytes that a pass moves: the weights
once per pass, what norms and activations read and write, the optimizer's states. Small models are
ruled by the fixed time per layer instead, so all are added up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.stage_pb2 import Method

from services.scheduler.memory.anatomy import Anatomy, read_anatomy
from services.scheduler.memory.weights import loaded_bytes
from services.scheduler.profile import Profile

FULL, QLORA = Method.METHOD_FULL, Method.METHOD_QLORA  # Looking a name up in an enum is slow.
FORWARD_FLOPS = 2
ADAPTER_FLOPS = 4
"""Forward, and gradients of the activations only."""
FULL_FLOPS = 6
ATTENTION_FLOPS = 2
"""Per layer, unit of query width, token and token before it, of a forward pass; half of the
square is masked. A backward pass takes twice that, whatever learns."""
BANDWIDTH_SHARE = 0.7
"""Share of the memory bandwidth that a pass reaches."""
STREAM_UNITS = 60
"""Bytes per token, layer, unit of width and pass that norms, activations and adapters move;
fitted together with the A100's efficiency, Mistral-7B on IBM's fms-acceleration rows."""
OPTIMIZER_BYTES = 28
"""Per float32 weight that learns: gradient read twice, weight and two moments read and written."""
DEQUANTISE_BYTES = 4.5
"""Per 4-bit weight and pass: half a byte read, its 16-bit form written and read."""
EXPOSED_SHARE = 0.3
"""Share of the exchange between devices that computing does not hide."""
DEFAULT_LINK = 12e9
"""Bytes per second between devices without a link of their own (PCIe 4 x16, half of its peak)."""
HIGH_FACTOR = 1.5
"""High over expected time of a step: 90 of 100 public rows on measured devices lie below."""
START_S = 5.0
"""Start of a run that is forked warm, data preparation, and the last files."""
DECODE_BATCH = 64
"""Answers that are generated side by side."""
BASELINE_PASSES = 2
"""The hold-out is answered by the base as it is and with examples in its prompt."""
EVALUATE_PASSES = 1


@dataclass(frozen=True)
class Generation:
    """What a model writes itself before it learns from it."""

    prompt_token_count: int
    """Of the longest prompt."""
    completion_token_count: int
    """Of the longest answer."""


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
    has_pairs: bool = False
    """Whether a row is a pair of answers, each a sequence, that a reference scores as well."""
    step_count_max: int = 0
    """Optimizer steps after which training ends though epochs are left; 0 for no bound."""
    generation: Generation | None = None
    """Set where rows are answers that the model writes during training."""


@dataclass(frozen=True)
class Batching:
    """How an optimizer step is split."""

    micro_batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    device_count: int = 1
    sharded: bool = False
    """Whether the devices split the weights and gather them for use."""


@dataclass(frozen=True)
class TimeEstimate:
    """Expected times of a stage."""

    step_count: int
    step_s: float
    """Of one optimizer step, in seconds."""
    expected_s: float
    """Of the whole stage, scoring before and after included, in seconds."""
    tokens_per_s: float = 0.0
    """Tokens of the rows that are learnt, over all devices."""

    @property
    def high_s(self) -> float:
        """A time of the whole stage that is rarely exceeded, in seconds."""
        return self.expected_s * HIGH_FACTOR

    def cost_micro_usd(self, price_micro_usd_per_hour: int, device_count: int = 1) -> int:
        """Return the expected cost of the stage in millionths of a US dollar."""
        return round(self.expected_s / 3600 * price_micro_usd_per_hour * device_count)


def step_count(workload: Workload, batching: Batching) -> int:
    """Return the optimizer steps, counted as the Hugging Face Trainer does."""
    rows = batching.micro_batch_size * batching.device_count
    passes = math.ceil(workload.train_row_count / rows)
    per_epoch = max(math.ceil(passes / batching.gradient_accumulation_steps), 1)
    steps = math.ceil(workload.epoch_count * per_epoch)
    return min(steps, workload.step_count_max) if workload.step_count_max else steps


def estimate_time(
    shape: ModelShape,
    method: Method.ValueType,
    profile: Profile,
    workload: Workload,
    batching: Batching,
) -> TimeEstimate:
    """Return the expected times of a stage."""
    anatomy = read_anatomy(shape)
    steps = step_count(workload, batching)
    length = _padded_length(workload, batching)
    per_step = _step_s(anatomy, method, profile, batching, length)
    if workload.has_pairs:
        rows = batching.micro_batch_size * batching.gradient_accumulation_steps
        per_step += per_step + _forward_s(anatomy, profile, 2 * rows * length)
    if workload.generation is not None:
        rows = batching.micro_batch_size * batching.gradient_accumulation_steps
        per_step += _generation_s(anatomy, method, profile, rows, workload.generation)
    evaluations = max(1, round(workload.evaluations_per_epoch * workload.epoch_count))
    validation = evaluations * _forward_s(
        anatomy, profile, workload.validation_row_count * workload.mean_token_count
    )
    scoring = (BASELINE_PASSES + EVALUATE_PASSES) * _answers_s(anatomy, method, profile, workload)
    rows = batching.micro_batch_size * batching.gradient_accumulation_steps * batching.device_count
    return TimeEstimate(
        step_count=steps,
        step_s=per_step,
        expected_s=START_S + steps * per_step + validation + scoring,
        tokens_per_s=rows * workload.mean_token_count / per_step,
    )


def step_s(
    shape: ModelShape,
    method: Method.ValueType,
    profile: Profile,
    batching: Batching,
    length: float,
) -> float:
    """Return the time of one optimizer step, in seconds.

    Args:
        shape: Of the base model.
        method: Which weights are changed.
        profile: Of each device.
        batching: How the step is split.
        length: Tokens of a row as it is computed, padding included.
    """
    return _step_s(read_anatomy(shape), method, profile, batching, length)


def _step_s(
    anatomy: Anatomy,
    method: Method.ValueType,
    profile: Profile,
    batching: Batching,
    length: float,
) -> float:
    one = _pass_s(anatomy, method, profile, batching, length)
    update = _update_s(anatomy, method, profile, batching)
    return batching.gradient_accumulation_steps * one + update


def _padded_length(workload: Workload, batching: Batching) -> float:
    length = workload.mean_token_count
    if batching.micro_batch_size > 1:
        # Rows are padded to the longest of their batch, which lies between mean and maximum.
        length = (length + workload.max_token_count) / 2
    return length


@lru_cache(maxsize=1024)
def used_parameter_count(anatomy: Anatomy) -> int:
    """Return the parameters that every token is multiplied with; looking it up costs nothing."""
    used = anatomy.parameter_count
    if not anatomy.tied:
        used -= anatomy.embedding_count
    if anatomy.expert_count:
        matrices = 3 if anatomy.gated else 2
        expert = matrices * anatomy.hidden * anatomy.inner // max(anatomy.experts_per_token, 1)
        used -= anatomy.layer_count * (anatomy.expert_count - anatomy.experts_per_token) * expert
    return max(used, 1)


def _pass_s(
    anatomy: Anatomy,
    method: Method.ValueType,
    profile: Profile,
    batching: Batching,
    length: float,
) -> float:
    """Return the time of one forward and backward pass, in seconds."""
    tokens = batching.micro_batch_size * length
    forwards = 2 if batching.gradient_checkpointing else 1
    per_parameter = FULL_FLOPS if method == FULL else ADAPTER_FLOPS
    per_parameter += (forwards - 1) * FORWARD_FLOPS
    attention = ATTENTION_FLOPS * anatomy.layer_count * anatomy.query * length * (forwards + 2)
    flops = tokens * (per_parameter * used_parameter_count(anatomy) + attention)
    passes = forwards + 1
    moved = passes * loaded_bytes(anatomy, method, profile.precision)
    if profile.is_gpu:  # The rates of processors were measured with all that a pass moves.
        moved += passes * STREAM_UNITS * anatomy.hidden * anatomy.layer_count * tokens
        if method == QLORA:
            moved += passes * DEQUANTISE_BYTES * anatomy.linear_count
    busy = flops / profile.effective_flops_per_s
    moving = _move_s(moved, profile)
    busy = busy + moving if profile.is_gpu else max(busy, moving)
    exchange = _exchange_s(anatomy, profile, batching, passes)
    return busy + exchange + anatomy.layer_count * profile.layer_overhead_s


def _exchange_s(anatomy: Anatomy, profile: Profile, batching: Batching, passes: int) -> float:
    """Return the exposed time of gathering sharded weights, in seconds."""
    if batching.device_count < 2 or not batching.sharded:
        return 0.0
    share = (batching.device_count - 1) / batching.device_count
    gathered = passes * 2.0 * anatomy.parameter_count * share
    return EXPOSED_SHARE * gathered / (profile.link_bytes_per_s or DEFAULT_LINK)


def _update_s(
    anatomy: Anatomy, method: Method.ValueType, profile: Profile, batching: Batching
) -> float:
    """Return the time of the optimizer's update, in seconds; that of an adapter is nothing.

    Devices that hold all weights each add up their gradients first.
    """
    if method != FULL or not profile.is_gpu:
        return 0.0
    count = batching.device_count
    share = count if batching.sharded else 1
    updating = _move_s(OPTIMIZER_BYTES * anatomy.parameter_count / share, profile)
    if count == 1 or batching.sharded:
        return updating
    # A ring passes all gradients, 4 bytes each, twice.
    summed = 2 * 4.0 * anatomy.parameter_count * (count - 1) / count
    return updating + EXPOSED_SHARE * summed / (profile.link_bytes_per_s or DEFAULT_LINK)


def _forward_s(anatomy: Anatomy, profile: Profile, tokens: float) -> float:
    used = used_parameter_count(anatomy)
    return FORWARD_FLOPS * used * tokens / profile.effective_flops_per_s


def _answers_s(
    anatomy: Anatomy, method: Method.ValueType, profile: Profile, workload: Workload
) -> float:
    """Return the time to read every hold-out prompt and to write the longest answer to it."""
    rows = workload.holdout_row_count
    written = Generation(round(workload.mean_token_count), workload.max_answer_tokens)
    return _generation_s(anatomy, method, profile, rows, written)


def _generation_s(
    anatomy: Anatomy,
    method: Method.ValueType,
    profile: Profile,
    rows: int,
    written: Generation,
) -> float:
    """Return the time in which one device reads prompts and writes the longest answer to each."""
    batches = math.ceil(rows / DECODE_BATCH)
    reading = _forward_s(anatomy, profile, rows * written.prompt_token_count)
    flops = FORWARD_FLOPS * used_parameter_count(anatomy) * DECODE_BATCH
    weights = loaded_bytes(anatomy, method, profile.precision)
    token = max(flops / profile.effective_flops_per_s, _move_s(weights, profile))
    token += anatomy.layer_count * profile.layer_overhead_s
    return reading + batches * written.completion_token_count * token


def _move_s(size_bytes: float, profile: Profile) -> float:
    return size_bytes / (BANDWIDTH_SHARE * profile.bandwidth_bytes_per_s)
