"""How a run trains, as far as its memory goes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.scheduler.memory.anatomy import Anatomy


class Format(StrEnum):
    """How the base model's weights are held."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    NF4 = "nf4"
    NF4_DOUBLE = "nf4_double"
    """4 bits, with the scales quantised as well."""
    GPTQ = "gptq"


class Tuning(StrEnum):
    """Which weights learn."""

    FULL = "full"
    LORA = "lora"
    DORA = "dora"


class Optimizer(StrEnum):
    """What keeps the moments, and how it steps."""

    ADAMW_FUSED = "adamw_fused"
    ADAMW_FOREACH = "adamw_foreach"
    """Torch's default when nothing is said: makes one temporary of the parameters' size."""
    ADAMW_8BIT = "adamw_8bit"
    ADAMW_PAGED = "adamw_paged"
    """Its moments live in managed memory, which torch does not count."""
    ADAMW_IN_BACKWARD = "adamw_in_backward"
    """Steps each parameter as soon as its gradient is there, and drops the gradient."""
    ADAMW_8BIT_IN_BACKWARD = "adamw_8bit_in_backward"
    ADAMW_PAGED_IN_BACKWARD = "adamw_paged_in_backward"


class Loss(StrEnum):
    """What computes the loss, and so how much of the logits it holds."""

    FULL = "full"
    """Logits as a whole, upcast to float32."""
    FUSED = "fused"
    """Logits as a whole, one kernel for the loss."""
    LINEAR = "linear"
    """Head and loss in one kernel (Liger, cut cross-entropy); no logits."""
    CHUNKED = "chunked"
    """Head and loss tile by tile."""
    HELD_CHUNKS = "held_chunks"
    """Loss chunk by chunk, over logits that are all held in the compute format."""


class Attention(StrEnum):
    """The attention kernel."""

    EAGER = "eager"
    SDPA = "sdpa"
    FLASH = "flash"


class Sharding(StrEnum):
    """What the devices split."""

    NONE = "none"
    DDP = "ddp"
    FSDP = "fsdp"
    ZERO_1 = "zero_1"
    ZERO_2 = "zero_2"
    ZERO_3 = "zero_3"
    TENSOR = "tensor"


class Offload(StrEnum):
    """What is kept in the host's memory."""

    ACTIVATIONS = "activations"
    OPTIMIZER = "optimizer"
    PARAMETERS = "parameters"


class Objective(StrEnum):
    """What a pass works on."""

    SFT = "sft"
    PREFERENCE = "preference"
    """Pairs: both answers in one pass, and a reference (DPO)."""
    REWARD_MODEL = "reward_model"
    """Pairs, and a head with one output."""
    ONLINE = "online"
    """Answers that the model wrote itself (GRPO)."""


@dataclass(frozen=True)
class Rollout:
    """How answers are generated while a model trains online."""

    prompt_token_count: int
    completion_token_count: int
    """Longest answer, in tokens; only these have logits."""
    concurrent_count: int = 8
    """Answers that are written side by side when no engine of its own does it."""
    engine_bytes: int = 0
    """What an engine on the same device holds: weights and cache; 0 without one."""
    engine_sleeps: bool = False
    """Whether it gives its memory back while the model learns."""
    has_reference: bool = False
    """Whether a divergence penalty asks for a reference model."""


@dataclass(frozen=True)
class Training:
    """Everything that the prediction looks at."""

    anatomy: Anatomy
    tuning: Tuning
    weights: Format
    micro_batch_size: int
    """Rows of a pass; a pair counts as one."""
    token_count: int
    """Tokens of the longest row."""
    rank: int = 0
    targets: tuple[str, ...] = ()
    adapter_dropout: bool = False
    adapter_bytes: int = 4
    """Of one adapter weight: 4 in float32, as PEFT makes them, 2 in bfloat16."""
    trained_embedding_count: int = 0
    """Parameters that learn as a whole beside the adapter, such as the embedding and the head."""
    trainable_count: int | None = None
    """Parameters that learn; None when it follows from the above."""
    compute_bytes: int = 2
    """Of one activation: 2 in bfloat16, 4 in float32."""
    autocast: bool = True
    """Whether passes run under mixed precision."""
    trainable_bytes: int = 4
    """Of one weight that learns in full fine-tuning, and of its moments and gradient."""
    upcast: bool = False
    """Whether all that is not 4-bit was cast to float32, the residual stream with it (PEFT's
    `prepare_model_for_kbit_training`)."""
    objective: Objective = Objective.SFT
    rollout: Rollout | None = None
    optimizer: Optimizer = Optimizer.ADAMW_FUSED
    loss: Loss = Loss.CHUNKED
    attention: Attention = Attention.SDPA
    cached_position_count: int = 0
    """Positions whose rotary factors every layer keeps, as transformers before 4.46 does for
    Mistral, Mixtral and Qwen2, up to their context length; 0 in other models and later versions."""
    repeats_keys: bool = False
    """Whether grouped keys and values are repeated for all heads; padding asks for a mask, with
    which the attention kernel cannot take them as they are."""
    checkpointing: bool = True
    accumulates: bool = False
    """Whether gradients live through more than one pass."""
    compiled: bool = False
    device_count: int = 1
    sharding: Sharding = Sharding.NONE
    offload: frozenset[Offload] = frozenset()
    library: str = "transformers-5"
    """Its entry in `libraries.yaml`."""
    is_gpu: bool = True

    @property
    def full(self) -> bool:
        """Whether all weights learn."""
        return self.tuning is Tuning.FULL

    @property
    def row_count(self) -> int:
        """Sequences of one pass."""
        pairs = self.objective in (Objective.PREFERENCE, Objective.REWARD_MODEL)
        return self.micro_batch_size * (2 if pairs else 1)

    @property
    def pass_token_count(self) -> int:
        """Tokens of one pass, with tensor parallelism still all of them."""
        return self.row_count * self.token_count

    @property
    def is_sharded(self) -> bool:
        """Whether the weights themselves are split and gathered for use."""
        return self.sharding in (Sharding.FSDP, Sharding.ZERO_3) and self.device_count > 1
