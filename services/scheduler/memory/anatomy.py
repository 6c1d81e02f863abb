"""What a model is made of, as numbers that memory and time are counted from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from attune.spec.v1.compute_pb2 import ModelShape

NORMS_PER_LAYER = 2

ATTENTION_INPUTS = ("q_proj", "k_proj", "v_proj")
MLP_INPUTS = ("gate_proj", "up_proj")
# What LoRA adapts when it adapts all linear layers, as module name endings.
LINEAR_MODULES = (*ATTENTION_INPUTS, "o_proj", *MLP_INPUTS, "down_proj")


@dataclass(frozen=True)
class Anatomy:
    """Widths and counts; a width is the number of values per token."""

    parameter_count: int
    """In all, embeddings included."""
    layer_count: int
    hidden: int
    """Width of the residual stream."""
    inner: int
    """Inner width of the feed-forward part that one token uses, over all its experts."""
    query: int
    """Width of all query heads together."""
    key: int
    """Width of all key heads together; the values have the same."""
    vocabulary: int
    tied: bool
    """Whether the head is the embedding."""
    expert_count: int
    """Experts of a layer; 0 in a dense model."""
    experts_per_token: int
    gated: bool
    """Whether the feed-forward part has a gate beside its inner projection."""
    norm_count: int
    """Normalisations of the residual stream per layer."""
    query_norms: bool
    """Whether queries and keys are normalised."""
    head_count: int

    @property
    def embedding_count(self) -> int:
        """Parameters of the input embedding."""
        return self.vocabulary * self.hidden

    @property
    def head_parameter_count(self) -> int:
        """Parameters of an output head of its own; 0 if it is the embedding."""
        return 0 if self.tied else self.vocabulary * self.hidden

    @property
    def linear_count(self) -> int:
        """Parameters of the layers: what quantisation and sharding by layer apply to."""
        return max(self.parameter_count - self.embedding_count - self.head_parameter_count, 0)

    @property
    def largest_matrix_count(self) -> int:
        """Parameters of the largest matrix inside a layer."""
        experts = max(self.experts_per_token, 1)
        return self.hidden * max(self.inner // experts, self.query)


@lru_cache(maxsize=1024)
def adapter_widths(anatomy: Anatomy) -> dict[str, tuple[int, int, int]]:
    """Return the inputs, outputs and copies per layer of every module that can be adapted."""
    copies = max(anatomy.expert_count, 1)
    inner = anatomy.inner // max(anatomy.experts_per_token, 1)
    widths = {
        "q_proj": (anatomy.hidden, anatomy.query, 1),
        "k_proj": (anatomy.hidden, anatomy.key, 1),
        "v_proj": (anatomy.hidden, anatomy.key, 1),
        "o_proj": (anatomy.query, anatomy.hidden, 1),
        "gate_proj": (anatomy.hidden, inner, copies),
        "up_proj": (anatomy.hidden, inner, copies),
        "down_proj": (inner, anatomy.hidden, copies),
    }
    if not anatomy.gated:
        del widths["gate_proj"]
    return widths


def read_anatomy(shape: ModelShape) -> Anatomy:
    """Return the anatomy of a shape; what it leaves out is as most models have it."""
    return _anatomy(
        shape.parameter_count,
        shape.layer_count,
        shape.hidden_size,
        shape.intermediate_size,
        shape.vocabulary_size,
        shape.head_count,
        shape.kv_head_count,
        shape.head_size,
        shape.tied_embeddings if shape.HasField("tied_embeddings") else None,
        shape.expert_count,
        shape.experts_per_token,
        shape.ungated,
        shape.norm_count,
        shape.query_norms,
    )


@lru_cache(maxsize=1024)
def _anatomy(
    parameter_count: int,
    layer_count: int,
    hidden: int,
    inner: int,
    vocabulary: int,
    head_count: int,
    kv_head_count: int,
    head_size: int,
    tied: bool | None,
    expert_count: int,
    experts_per_token: int,
    ungated: bool,
    norm_count: int,
    query_norms: bool,
) -> Anatomy:
    heads = max(head_count, 1)
    size = head_size or hidden // heads
    anatomy = Anatomy(
        parameter_count=parameter_count,
        layer_count=layer_count,
        hidden=hidden,
        inner=inner,
        query=heads * size,
        key=(kv_head_count or heads) * size,
        vocabulary=vocabulary,
        tied=bool(tied),
        expert_count=expert_count,
        experts_per_token=experts_per_token,
        gated=not ungated,
        norm_count=norm_count or NORMS_PER_LAYER,
        query_norms=query_norms,
        head_count=heads,
    )
    if tied is not None:
        return anatomy
    # Whoever does not say whether the head is the embedding has it in the parameter count.
    return _with_tie(anatomy)


def _with_tie(anatomy: Anatomy) -> Anatomy:
    """Return the anatomy with the tie that its parameter count speaks for."""
    layers = anatomy.layer_count * layer_parameter_count(anatomy)
    once = abs(anatomy.parameter_count - layers - anatomy.embedding_count)
    twice = abs(anatomy.parameter_count - layers - 2 * anatomy.embedding_count)
    return replace(anatomy, tied=once <= twice)


def layer_parameter_count(anatomy: Anatomy) -> int:
    """Return the parameters of one layer, from its widths; norms and biases aside."""
    return sum(
        inputs * outputs * copies for inputs, outputs, copies in adapter_widths(anatomy).values()
    )


@lru_cache(maxsize=1024)
def lora_count(anatomy: Anatomy, rank: int, targets: tuple[str, ...]) -> int:
    """Return the parameters of a LoRA adapter: rank x (inputs + outputs) of every target.

    Args:
        anatomy: Of the base model.
        rank: Rank of the adapter matrices, at least 1.
        targets: Module name endings; `all-linear`, or a name that is not known here, counts as
            every linear layer.
    """
    widths = adapter_widths(anatomy)
    chosen = known_targets(anatomy, targets)
    per_layer = sum((widths[name][0] + widths[name][1]) * widths[name][2] for name in chosen)
    return anatomy.layer_count * rank * per_layer


@lru_cache(maxsize=1024)
def known_targets(anatomy: Anatomy, targets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the targets as names that are known here; all of them if one is not known."""
    widths = adapter_widths(anatomy)
    if targets and set(targets) <= set(LINEAR_MODULES):
        return tuple(name for name in widths if name in targets)
    return tuple(widths)
