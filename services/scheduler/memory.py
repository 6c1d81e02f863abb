"""Predicts the peak memory of one device, by component; pure.

The formulas are those of the literature on transformer memory (Korthikanti et al., 2022, for
activations) with the constants that fit 108 public runs of the Hugging Face Trainer on A100 cards
(IBM fms-acceleration, mean error 1.1 %).
"""

from __future__ import annotations

from dataclasses import dataclass

from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.stage_pb2 import Method

from services.scheduler.profile import (
    PRECISION_BYTES,
    Precision,
    Profile,
    embedding_parameter_count,
    trainable_parameter_count,
)

ADAPTER_BYTES = 16
"""Per LoRA parameter: weight 4 and two Adam moments 8 in float32 (PEFT keeps adapters so), and 4
for its gradient."""
FULL_BYTES = 12
"""Per parameter beside its float32 weight: two Adam moments 8, gradient 4. The fused AdamW, the
default since transformers 5, needs no temporary copy."""
NF4_BYTES = 0.5625
"""Per parameter of a 4-bit linear layer: half a byte, and 4 bytes of scale for 64 of them."""
ACTIVATION_UNITS = 40.0
"""Bytes per token, layer and unit of width that the backward pass needs in bfloat16 without
checkpointing; 34 by Korthikanti et al. with flash attention, 36 to 46 in public LoRA runs."""
CHECKPOINT_UNITS = 2.0
"""The same with checkpointing: one bfloat16 vector per layer."""
RECOMPUTE_UNITS = 65.0
"""Bytes per token and unit of width while one checkpointed layer is computed again."""
LOGIT_BYTES = 12.0
"""Per token and vocabulary entry: logits upcast to float32, their softmax and their gradient."""
HEAD_UNITS = 6.0
"""Bytes per token and unit of width at the output head."""
MLP_RATIO = 3.5
"""Inner over residual width of the models that the unit counts were read off."""
MLP_SHARE = 0.5
"""Share of a layer's activations that grows with the inner width."""
RUNTIME_CPU_BYTES = 900_000_000
"""Resident memory of a run that has torch, transformers, PEFT and TRL imported."""
RUNTIME_GPU_BYTES = 500_000_000
"""CUDA context (300 to 430 MB) and workspaces."""
LOW_FACTOR = 0.85
HIGH_FACTOR = 1.15
"""Above the largest error of the fit (9.1 %), with room for the allocator's rounding."""


@dataclass(frozen=True)
class Layout:
    """What one forward and backward pass holds at once."""

    micro_batch_size: int
    """Rows, at least 1."""
    max_token_count: int
    """Tokens of the longest row, at least 1."""
    gradient_checkpointing: bool


@dataclass(frozen=True)
class Component:
    """One part of the estimate."""

    title: str
    size_bytes: int


@dataclass(frozen=True)
class MemoryEstimate:
    """Predicted peak memory of one device, in bytes."""

    components: tuple[Component, ...]
    """Largest first."""

    @property
    def expected_bytes(self) -> int:
        """The sum of the components."""
        return sum(component.size_bytes for component in self.components)

    @property
    def low_bytes(self) -> int:
        """What it is unlikely to be below."""
        return int(self.expected_bytes * LOW_FACTOR)

    @property
    def high_bytes(self) -> int:
        """What placement reckons with."""
        return int(self.expected_bytes * HIGH_FACTOR)


def estimate_memory(
    shape: ModelShape,
    method: Method.ValueType,
    rank: int,
    target_modules: list[str],
    profile: Profile,
    layout: Layout,
) -> MemoryEstimate:
    """Return the peak memory of a supervised training step.

    Args:
        shape: Of the base model.
        method: Which weights are changed.
        rank: Of the adapter; without meaning for full fine-tuning.
        target_modules: Of the adapter; likewise.
        profile: Says the number format and what the runtime takes.
        layout: What one pass holds.
    """
    trainable = trainable_parameter_count(shape, method, rank, target_modules)
    full = method == Method.METHOD_FULL
    activations, logits = _passes(shape, profile.precision, layout)
    parts = {
        "weights": weight_bytes(shape, method, profile.precision),
        ("optimizer and gradients" if full else "adapter and optimizer"): trainable
        * (FULL_BYTES if full else ADAPTER_BYTES),
        "activations": activations,
        "logits": logits,
        "runtime": RUNTIME_GPU_BYTES if profile.is_gpu else RUNTIME_CPU_BYTES,
    }
    components = (Component(title, int(size)) for title, size in parts.items())
    return MemoryEstimate(tuple(sorted(components, key=lambda part: -part.size_bytes)))


def weight_bytes(shape: ModelShape, method: Method.ValueType, precision: Precision) -> float:
    """Return the size of the base model's weights as they are loaded, in bytes."""
    if method == Method.METHOD_FULL:
        return 4.0 * shape.parameter_count  # AdamW needs float32 weights; the pass casts them.
    if method == Method.METHOD_QLORA:
        rest = embedding_parameter_count(shape)
        return NF4_BYTES * (shape.parameter_count - rest) + 2.0 * rest
    return float(PRECISION_BYTES[precision] * shape.parameter_count)


def _passes(shape: ModelShape, precision: Precision, layout: Layout) -> tuple[float, float]:
    """Return the bytes of activations and of logits where their sum peaks."""
    tokens = layout.micro_batch_size * layout.max_token_count
    width = PRECISION_BYTES[precision] / 2 * shape.hidden_size * tokens
    ratio = shape.intermediate_size / shape.hidden_size / MLP_RATIO
    units = 1 - MLP_SHARE + MLP_SHARE * ratio
    logits = tokens * (LOGIT_BYTES * shape.vocabulary_size + HEAD_UNITS * shape.hidden_size)
    if not layout.gradient_checkpointing:
        return ACTIVATION_UNITS * units * shape.layer_count * width, logits
    # The head's pass is over before the last layer is computed again: the larger one counts.
    stored = CHECKPOINT_UNITS * shape.layer_count * width
    recomputed = RECOMPUTE_UNITS * units * width
    return (stored, logits) if logits >= recomputed else (stored + recomputed, 0.0)
