"""Training frameworks: what each does when a row of a public table does not say.

Defaults are configurations, never sizes. They are those of the frameworks' own code and recipes;
where a framework has several recipes, and for what an unnamed reading is, the rows of the public
table decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.scheduler.memory.training import Loss, Offload, Optimizer, Sharding

RANK = 8
"""PEFT's rank, when a row names none."""


class Reading(StrEnum):
    """Which quantity was measured."""

    ALLOCATED = "allocated"
    RESERVED = "reserved"
    PROCESS = "process"


@dataclass(frozen=True)
class Framework:
    """What a training framework does when a row does not say."""

    library: str
    optimizer: Optimizer
    loss: Loss
    checkpoints_alone: bool
    """Whether it checkpoints on one device by default."""
    doubles_scales: bool
    """Whether its 4-bit weights have quantised scales."""
    rank: int = RANK
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    sharding: Sharding = Sharding.FSDP
    full_alone: Optimizer | None = None
    """Optimizer of full fine-tuning on one device, where it differs."""
    autocast: bool = True
    repeats_keys: bool = False
    unties: bool = False
    """Whether it holds a head of its own even where the model's head is its embedding."""
    reading: Reading = Reading.PROCESS
    """What it reports, where a row does not say; most people look at nvidia-smi."""
    adapter_bytes: int = 4
    offload: frozenset[Offload] = frozenset()


TRANSFORMERS = Framework("transformers-5", Optimizer.ADAMW_FUSED, Loss.FULL, True, True)
ALL_LINEAR = ("all-linear",)
# Found by a name inside the source; the first that matches. What each does is in its own code:
# litgpt config_hub and finetune/lora.py; torchtune recipes/configs; Qwen finetune.py and its
# ds_config_zero2.json; LLaMA-Factory hparams; fsdp_qlora train.py.
FRAMEWORKS = {
    "litgpt": Framework(
        "litgpt",
        Optimizer.ADAMW_FOREACH,
        Loss.HELD_CHUNKS,
        False,
        False,
        autocast=False,
        adapter_bytes=2,
        repeats_keys=True,
        unties=True,
        reading=Reading.ALLOCATED,
    ),
    "torchtune": Framework(
        "torchtune",
        Optimizer.ADAMW_FUSED,
        Loss.HELD_CHUNKS,
        True,
        True,
        8,
        ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        full_alone=Optimizer.ADAMW_PAGED_IN_BACKWARD,
        autocast=False,
        adapter_bytes=2,
        reading=Reading.RESERVED,
    ),
    "fms-acceleration": Framework(
        "transformers-4",
        Optimizer.ADAMW_FOREACH,
        Loss.FULL,
        True,
        True,
        16,
        ("q_proj", "k_proj", "v_proj", "o_proj"),
    ),
    "qwenlm": Framework(
        "transformers-4",
        Optimizer.ADAMW_FOREACH,
        Loss.FULL,
        True,
        False,
        64,
        ALL_LINEAR,
        Sharding.ZERO_2,
    ),
    "llama-factory": Framework("transformers-4", Optimizer.ADAMW_FOREACH, Loss.FULL, True, True, 8),
    "unsloth": Framework(
        "unsloth",
        Optimizer.ADAMW_8BIT,
        Loss.LINEAR,
        True,
        True,
        16,
        ALL_LINEAR,
        offload=frozenset({Offload.ACTIVATIONS}),
    ),
    "fsdp_qlora": Framework(
        "transformers-4", Optimizer.ADAMW_FOREACH, Loss.FULL, True, False, 64, ALL_LINEAR
    ),
}


def framework_of(source: str, notes: str) -> Framework:
    """Return the framework that a row belongs to; Transformers when it names none."""
    first = notes.lower()
    if "unsloth" in source.lower() and first.startswith("hf"):
        return TRANSFORMERS  # The baseline that it compares itself with.
    plain = "unsloth" if first.startswith("unsloth") else source.lower()
    return next((each for name, each in FRAMEWORKS.items() if name in plain), TRANSFORMERS)
