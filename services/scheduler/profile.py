"""Device profiles and model shapes: the facts that estimates are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.stage_pb2 import Method


class Precision(StrEnum):
    """Number format of the forward pass."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


CPU = "cpu"
"""Id of the profile that every machine has."""
PRECISION_BYTES = {Precision.FLOAT32: 4, Precision.BFLOAT16: 2}


@dataclass(frozen=True)
class Profile:
    """What is known of one kind of device."""

    id: str
    title: str
    memory_bytes: int
    """What runs may use of it when no live node says otherwise."""
    precision: Precision
    flops_per_s: float
    """Dense operations per second in its precision."""
    efficiency: float
    """Share of them that training reaches, in (0, 1]."""
    bandwidth_bytes_per_s: float
    layer_overhead_s: float
    """Fixed time per layer of one forward and backward pass, in seconds."""
    price_micro_usd_per_hour: int
    """Of one device, in millionths of a US dollar; 0 on own hardware."""
    source: str
    """Where the figures come from."""

    @property
    def is_gpu(self) -> bool:
        """Whether it is a card, which has a context of its own and 4-bit kernels."""
        return self.id != CPU

    @property
    def effective_flops_per_s(self) -> float:
        """Operations per second that training gets."""
        return self.flops_per_s * self.efficiency


@dataclass(frozen=True)
class Catalogue:
    """All profiles, and the shapes of models that need not be at hand."""

    profiles: Mapping[str, Profile]
    """By id."""
    shapes: Mapping[str, ModelShape]
    """By model id; the revision is not known here."""


# What LoRA adapts when it adapts all linear layers, as module name endings.
LINEAR_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def lora_parameter_count(shape: ModelShape, rank: int, target_modules: list[str]) -> int:
    """Return the parameters of a LoRA adapter: rank x (inputs + outputs) of every target.

    Args:
        shape: Of the base model.
        rank: Rank of the adapter matrices, at least 1.
        target_modules: Module name endings; `all-linear`, or a name that is not known here,
            counts as every linear layer.
    """
    hidden, inner = shape.hidden_size, shape.intermediate_size
    kv = hidden * shape.kv_head_count // shape.head_count
    widths = {
        "q_proj": 2 * hidden,
        "k_proj": hidden + kv,
        "v_proj": hidden + kv,
        "o_proj": 2 * hidden,
        "gate_proj": hidden + inner,
        "up_proj": hidden + inner,
        "down_proj": inner + hidden,
    }
    known = set(target_modules) <= set(LINEAR_MODULES)
    targets = set(target_modules) if known else set(LINEAR_MODULES)
    return shape.layer_count * rank * sum(widths[target] for target in targets)


def embedding_parameter_count(shape: ModelShape) -> int:
    """Return the parameters of the input embedding, which 4-bit loading leaves as they are."""
    return shape.vocabulary_size * shape.hidden_size


def trainable_parameter_count(
    shape: ModelShape, method: Method.ValueType, rank: int, target_modules: list[str]
) -> int:
    """Return how many parameters a stage changes.

    Args:
        shape: Of the base model.
        method: How it changes them.
        rank: Of the adapter; without meaning for full fine-tuning.
        target_modules: Of the adapter; likewise.
    """
    if method == Method.METHOD_FULL:
        return shape.parameter_count
    return lora_parameter_count(shape, rank, target_modules)
