"""What stays on a device between passes: weights, adapters, moments, gradients; in bytes."""

from __future__ import annotations

from typing import NamedTuple

from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.stage_pb2 import Method

from services.scheduler.memory.anatomy import Anatomy, lora_count, read_anatomy
from services.scheduler.memory.library import Library
from services.scheduler.memory.training import (
    Format,
    Objective,
    Offload,
    Optimizer,
    Sharding,
    Training,
    Tuning,
)
from services.scheduler.profile import PRECISION_BYTES, Precision

FULL, QLORA = Method.METHOD_FULL, Method.METHOD_QLORA  # Looking a name up in an enum is slow.
FORMAT_BYTES = {
    Format.FLOAT32: 4.0,
    Format.BFLOAT16: 2.0,
    Format.INT8: 1.02,
    Format.NF4: 0.5 + 4 / 64,
    Format.NF4_DOUBLE: 0.5 + 1 / 64 + 4 / (64 * 256),
    Format.GPTQ: 0.5 + 2.5 / 128,
}
"""Per parameter of a layer: bits and scales. Blocks of 64 have a float32 scale in bitsandbytes,
quantised to 8 bits in blocks of 256 on demand; groups of 128 a float16 scale and a 4-bit zero in
GPTQ."""
QUANTISED = frozenset(FORMAT_BYTES) - {Format.FLOAT32, Format.BFLOAT16}
MOMENT_BYTES_8BIT = 2 * (1 + 4 / 2048)
"""Two 8-bit moments in blocks of 2,048 with a float32 scale."""
MASTER_BYTES = 12
"""DeepSpeed's float32 weight and two moments of each bfloat16 weight that learns."""
IN_BACKWARD = (
    Optimizer.ADAMW_IN_BACKWARD,
    Optimizer.ADAMW_8BIT_IN_BACKWARD,
    Optimizer.ADAMW_PAGED_IN_BACKWARD,
)
ZERO = (Sharding.ZERO_1, Sharding.ZERO_2, Sharding.ZERO_3)
SPLITS_GRADIENTS = (Sharding.FSDP, Sharding.ZERO_2, Sharding.ZERO_3)


class States(NamedTuple):
    """Bytes on one device."""

    weights: float
    buffers: float
    """What is no parameter: rotary factors. They are never sharded."""
    reference: float
    """Of a reference model that is a copy; an adapter is switched off instead."""
    adapter: float
    moments: float
    gradients: float
    """When all of them are there."""
    late_gradients: float
    """All but those of the layer that is worked on last."""
    first_gradients: float
    """Those of the head and the last layer, which are there while that layer is worked on."""
    step: float
    """Temporaries of the optimizer's step."""
    root: float
    """Embedding and head, gathered for the whole pass."""
    layer: float
    """One layer, gathered; all of them where they stay so."""
    cast: float
    """Half-precision copies of float32 weights that mixed precision saves for the backward
    pass."""


def trainable_count(training: Training) -> int:
    """Return how many parameters learn."""
    if training.trainable_count is not None:
        return training.trainable_count
    if training.full:
        return training.anatomy.parameter_count
    count = lora_count(training.anatomy, training.rank, training.targets)
    return count + training.trained_embedding_count


def states(training: Training, library: Library) -> States:
    """Return what stays between passes."""
    count = max(training.device_count, 1)
    zero = training.sharding in ZERO
    split = count if training.is_sharded or training.sharding is Sharding.TENSOR else 1
    loaded = _loaded(training)
    if zero:
        loaded = min(loaded, 2.0 * training.anatomy.parameter_count)
    reference = 2.0 * training.anatomy.parameter_count if _copies_reference(training) else 0.0
    learns = _learning_bytes(training, zero)
    states_split = count if zero else split
    gradients = learns / (count if training.sharding in SPLITS_GRADIENTS else 1)
    if training.sharding is Sharding.DDP and count > 1:
        gradients *= 2  # The buckets that are exchanged are a copy.
    moments = _moment_bytes(training, learns, zero) / states_split
    step = learns / states_split if training.optimizer is Optimizer.ADAMW_FOREACH else 0.0
    layer_share = _layer_share(training)
    first = gradients * _first_share(training, layer_share)
    if training.optimizer in IN_BACKWARD:
        gradients = first
    if Offload.OPTIMIZER in training.offload:
        moments = gradients = step = 0.0
    root, layer = _gathered(training, library)
    return States(
        weights=0.0 if Offload.PARAMETERS in training.offload else loaded / split,
        buffers=_buffer_bytes(training),
        reference=reference / split,
        adapter=0.0 if training.full else learns / split,
        moments=moments,
        gradients=gradients,
        late_gradients=gradients * (1 - layer_share),
        first_gradients=first,
        step=step,
        root=root,
        layer=layer,
        cast=_cast(training, zero),
    )


def weight_bytes(shape: ModelShape, method: Method.ValueType, precision: Precision) -> float:
    """Return the size of the base model's weights as they are loaded, in bytes."""
    return loaded_bytes(read_anatomy(shape), method, precision)


def loaded_bytes(anatomy: Anatomy, method: Method.ValueType, precision: Precision) -> float:
    """Return the size of a model's weights as they are loaded, in bytes."""
    if method == FULL:
        return 4.0 * anatomy.parameter_count  # AdamW needs float32 weights; the pass casts them.
    if method == QLORA:
        return base_bytes(anatomy, Format.NF4_DOUBLE, upcast=False)
    return float(PRECISION_BYTES[precision] * anatomy.parameter_count)


def base_bytes(anatomy: Anatomy, held: Format, *, upcast: bool) -> float:
    """Return the size of frozen weights.

    Args:
        anatomy: Of the model.
        held: Their format; only the layers' matrices are quantised.
        upcast: Whether the rest was cast to float32.
    """
    if held not in QUANTISED:
        return FORMAT_BYTES[held] * anatomy.parameter_count
    rest = anatomy.parameter_count - anatomy.linear_count
    return FORMAT_BYTES[held] * anatomy.linear_count + (4.0 if upcast else 2.0) * rest


def _loaded(training: Training) -> float:
    if training.tuning is Tuning.FULL:
        return float(training.trainable_bytes * training.anatomy.parameter_count)
    # What learns as a whole beside the adapter is a copy that the adapter's size counts.
    return base_bytes(training.anatomy, training.weights, upcast=training.upcast)


def _buffer_bytes(training: Training) -> float:
    anatomy = training.anatomy
    head_size = anatomy.query // anatomy.head_count
    factors = 2 * training.cached_position_count * head_size  # A cosine and a sine.
    return float(training.compute_bytes * anatomy.layer_count * factors)


def _learning_bytes(training: Training, zero: bool) -> float:
    """Return the size of the weights that learn, and so of their gradients."""
    if training.full:
        size = 2 if zero else training.trainable_bytes
        return float(size * training.anatomy.parameter_count)
    # What learns as a whole beside an adapter keeps the format of the base model.
    whole = training.trained_embedding_count
    size = 2 if zero else training.adapter_bytes
    return float(size * (trainable_count(training) - whole) + min(size, 2) * whole)


def _moment_bytes(training: Training, learns: float, zero: bool) -> float:
    """Return the size of what the optimizer keeps."""
    if training.optimizer in (Optimizer.ADAMW_8BIT, Optimizer.ADAMW_8BIT_IN_BACKWARD):
        return MOMENT_BYTES_8BIT * trainable_count(training)
    if training.optimizer in (Optimizer.ADAMW_PAGED, Optimizer.ADAMW_PAGED_IN_BACKWARD):
        return 0.0
    return MASTER_BYTES / 2 * learns if zero else 2.0 * learns


def _layer_share(training: Training) -> float:
    """Return the share of one layer in all that learns."""
    anatomy = training.anatomy
    share = 1 / max(anatomy.layer_count, 1)
    if training.full:
        share *= anatomy.linear_count / max(anatomy.parameter_count, 1)
    return share


def _first_share(training: Training, layer_share: float) -> float:
    """Return the share of the head and one layer in all that learns."""
    if not training.full:
        return layer_share
    anatomy = training.anatomy
    return min(layer_share + anatomy.embedding_count / max(anatomy.parameter_count, 1), 1.0)


def _cast(training: Training, zero: bool) -> float:
    """Return the copies that mixed precision makes of float32 weights, and saves."""
    held = training.trainable_bytes == 4 if training.full else training.weights is Format.FLOAT32
    if not (held and training.autocast and training.compute_bytes == 2) or zero:
        return 0.0
    anatomy = training.anatomy
    if training.is_sharded or training.checkpointing:
        return 2.0 * anatomy.linear_count / max(anatomy.layer_count, 1)
    return 2.0 * (anatomy.linear_count + anatomy.embedding_count)


def _copies_reference(training: Training) -> bool:
    if not training.full:
        return False
    rollout = training.rollout
    return training.objective is Objective.PREFERENCE or bool(rollout and rollout.has_reference)


def _gathered(training: Training, library: Library) -> tuple[float, float]:
    """Return what a sharded pass gathers: embedding and head, and one layer."""
    if not training.is_sharded:
        return 0.0, 0.0
    anatomy = training.anatomy
    root = 2.0 * (anatomy.embedding_count + anatomy.head_parameter_count)
    per_parameter = 2.0
    if not training.full and training.weights in QUANTISED:
        per_parameter = FORMAT_BYTES[training.weights]
    layers = per_parameter * anatomy.linear_count
    if library.keeps_gathered:
        return root, layers
    layer = layers / max(anatomy.layer_count, 1)
    # From the host, the next one is fetched while this one computes.
    return root, layer * (2 if Offload.PARAMETERS in training.offload else 1)
