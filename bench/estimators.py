"""Public rules for the memory of training, written again from their published formulas.

Each takes what a row runs and returns bytes on one device. They are what people use today; none
looks at the length of rows but the textbook's.
"""

from __future__ import annotations

from collections.abc import Callable

from services.scheduler.memory.training import Format, Sharding, Training
from services.scheduler.memory.weights import trainable_count

GB = 1_000_000_000


def accelerate(training: Training) -> float:
    """Return what `accelerate estimate-memory` says of training with Adam: 4 times the weights.

    Its documentation: weights, gradients and two moments, all in the format of the weights.
    """
    return 4.0 * _format_bytes(training) * training.anatomy.parameter_count


def deepspeed(training: Training) -> float:
    """Return DeepSpeed's estimate of model states.

    ZeRO-2: 2 P + 16 P / n, and 18 P on one device. ZeRO-3: 4 times the largest layer + 18 P / n.
    """
    anatomy, count = training.anatomy, max(training.device_count, 1)
    parameters = anatomy.parameter_count
    if count == 1:
        return 18.0 * parameters
    if training.sharding in (Sharding.FSDP, Sharding.ZERO_3):
        largest = max(anatomy.embedding_count, anatomy.linear_count // anatomy.layer_count)
        return 4.0 * largest + 18.0 * parameters / count
    return 2.0 * parameters + 16.0 * parameters / count


def llama_factory(training: Training) -> float:
    """Return LLaMA-Factory's table: GB per billion parameters, by method and bits."""
    billions = training.anatomy.parameter_count / 1e9
    if training.full:
        return (18.0 if training.trainable_bytes == 4 else 8.0) * billions * GB
    bits = {Format.NF4: 0.5, Format.NF4_DOUBLE: 0.5, Format.GPTQ: 0.5, Format.INT8: 1.0}
    return bits.get(training.weights, 2.0) * billions * GB


def textbook(training: Training) -> float:
    """Return the sum that guides to transformer memory teach.

    Weights, and for what learns 2 bytes of gradient and 8 to 12 of moments; per token 34 bytes per
    layer and unit of width, or 2 with checkpointing and one layer of 34; logits in 16 bits and in
    32, 4 bytes per entry and pass (Korthikanti et al., 2022; EleutherAI's Transformer Math).
    """
    anatomy = training.anatomy
    count = training.device_count if training.is_sharded else 1
    learning = trainable_count(training)
    states = (_format_bytes(training) * anatomy.parameter_count + 10.0 * learning) / max(count, 1)
    units = 34.0 * anatomy.layer_count
    if training.checkpointing:
        units = 2.0 * anatomy.layer_count + 34.0
    per_token = units * anatomy.hidden + 4.0 * anatomy.vocabulary
    return states + per_token * training.pass_token_count


OTHERS: dict[str, Callable[[Training], float]] = {
    "accelerate": accelerate,
    "deepspeed": deepspeed,
    "llama_factory": llama_factory,
    "textbook": textbook,
}


def _format_bytes(training: Training) -> float:
    """Return the bytes of one weight as these rules count them."""
    if training.full:
        return float(training.trainable_bytes)
    return {Format.FLOAT32: 4.0, Format.BFLOAT16: 2.0, Format.INT8: 1.0}.get(training.weights, 0.5)
