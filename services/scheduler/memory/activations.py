"""What passes hold: saved activations, one layer computed again, logits; in bytes."""

from __future__ import annotations

from typing import NamedTuple

from services.scheduler.memory.anatomy import (
    ATTENTION_INPUTS,
    MLP_INPUTS,
    adapter_widths,
    known_targets,
)
from services.scheduler.memory.library import Library
from services.scheduler.memory.training import (
    Attention,
    Loss,
    Objective,
    Offload,
    Sharding,
    Training,
    Tuning,
)
from services.scheduler.memory.weights import QUANTISED

NORM_BACKWARD_UNITS = 20.0
"""Bytes per unit of width while a norm's gradient is made: five float32 vectors (accounted)."""
RECOMPUTED_NORM_UNITS = 17.0
"""The same inside a recomputed layer, whose own copy is already counted (accounted)."""
RESIDUAL_VECTORS = 1.5
"""Vectors of the residual stream that live beside the feed-forward part's gradients (accounted)."""
SCORE_BYTES = 6
"""Per attention score without a fused kernel: a float32 softmax and its bfloat16 copy."""
OFFLOADED_LAYERS = 2
"""Layers whose activations are on the device while the rest are in the host's memory."""


class Activations(NamedTuple):
    """Bytes of one pass."""

    stored: float
    """What all layers save for the backward pass."""
    working: float
    """What the layer that is worked on makes beyond that."""
    layer: float
    """What the first layer saves and makes when it alone is left."""
    logits: float
    """Head and loss."""


def activations(training: Training, library: Library) -> Activations:
    """Return what one forward and backward pass holds."""
    anatomy, tokens = training.anatomy, training.pass_token_count
    stream = (2 if training.upcast else 1) * training.compute_bytes
    saved = saved_per_token(training, library) * (2.0 if training.upcast else 1.0)
    transient = _transient_per_token(training, library) * (2.0 if training.upcast else 1.0)
    if training.sharding is Sharding.TENSOR:
        saved /= max(training.device_count, 1)
        transient /= max(training.device_count, 1)
    layers = anatomy.layer_count
    if Offload.ACTIVATIONS in training.offload:
        layers = min(layers, OFFLOADED_LAYERS)
    if training.checkpointing:
        stored, working = float(layers * stream * anatomy.hidden), saved + transient
        if training.is_sharded and not training.full and library.doubles_sharded_checkpoints:
            working += max(layers - 2, 0) * stream * anatomy.hidden
    else:
        stored, working = layers * saved, transient
    layer = (saved + transient) * tokens
    return Activations(stored * tokens, working * tokens, layer, _logits(training, library))


def saved_per_token(training: Training, library: Library) -> float:
    """Return what one layer saves for its backward pass, in bytes per token."""
    anatomy, size = training.anatomy, training.compute_bytes
    norms = anatomy.norm_count * anatomy.hidden + (
        anatomy.query + anatomy.key if anatomy.query_norms else 0
    )
    extra = library.layer_extra_units
    if training.weights in QUANTISED and not training.full:
        extra += library.layer_extra_quantised_units
    saved = extra * anatomy.hidden
    # Compiled norms keep their input as it is; so does a plain LayerNorm outside mixed precision,
    # which is what ungated models have.
    plain = training.compiled or not (training.autocast or anatomy.gated)
    saved += norms * (size if plain else library.norm_bytes)
    if training.full and not training.compiled:
        saved += norms * size
    saved += size * _attention_width(training)
    if training.attention is Attention.EAGER:
        saved += SCORE_BYTES * size / 2 * anatomy.head_count * training.token_count
    inner = 3 if anatomy.gated else 1
    if training.full or (training.weights in QUANTISED and library.quantised_saves_inputs):
        # The inputs of the matrices, of which attention's output is already counted.
        inner += 0 if training.compiled else 1
        saved += (2 if anatomy.gated else 1) * size * anatomy.hidden
    saved += inner * size * anatomy.inner
    if anatomy.experts_per_token:
        # Each token is copied to its experts, and their outputs are kept to be weighted.
        saved += 2 * anatomy.experts_per_token * size * anatomy.hidden
    return saved + _adapter_inputs(training)


def _attention_width(training: Training) -> float:
    """Return the values per token that attention saves: queries, keys, values, output."""
    anatomy = training.anatomy
    repeated = training.repeats_keys and training.attention is not Attention.FLASH
    return 2 * anatomy.query + 2 * (anatomy.query if repeated else anatomy.key)


def _adapter_inputs(training: Training) -> float:
    """Return what adapters save for their own gradients, in bytes per token and layer."""
    if training.full:
        return 0.0
    anatomy, saved = training.anatomy, 0.0
    widths = adapter_widths(anatomy)
    per_expert = max(anatomy.experts_per_token, 1)
    shared = {"o_proj"}  # In float32 it reads what attention has already saved.
    for name in known_targets(anatomy, training.targets) if training.rank else ():
        inputs, outputs, copies = widths[name]
        used = per_expert if copies > 1 else 1
        if training.compute_bytes == 4:
            group = _input_of(name)
            saved += 0 if group in shared else 4 * inputs * used
            shared.add(group)
        else:
            size = training.compute_bytes if training.autocast else training.adapter_bytes
            saved += size * inputs * used
        saved += inputs * used if training.adapter_dropout else 0
        if training.tuning is Tuning.DORA:
            saved += 2 * training.compute_bytes * outputs * used
        saved += 2 * training.rank * training.compute_bytes * used
    return saved


def _input_of(module: str) -> str:
    """Return what a module reads, so that readers of the same tensor count it once."""
    if module in ATTENTION_INPUTS:
        return "attention"
    return "mlp" if module in MLP_INPUTS else module


def _transient_per_token(training: Training, library: Library) -> float:
    """Return what the backward pass of one layer makes beyond what is saved, per token."""
    anatomy, size = training.anatomy, training.compute_bytes
    mlp = float((3 if anatomy.gated else 2) * size * anatomy.inner)
    if anatomy.expert_count and library.experts_in_turn:
        mlp /= anatomy.expert_count  # One expert works at a time, on its share of the tokens.
    if not training.checkpointing:
        transient = max(mlp, NORM_BACKWARD_UNITS * anatomy.hidden)
    else:
        mlp += RESIDUAL_VECTORS * size * anatomy.hidden
        transient = max(mlp, RECOMPUTED_NORM_UNITS * anatomy.hidden)
        if training.full:
            units = library.recompute_full_units
        elif training.weights in QUANTISED:
            units = library.recompute_quantised_units
        else:
            units = library.recompute_adapter_units
        transient += units * anatomy.hidden
    if not training.full and training.rank:
        adapted = set(known_targets(anatomy, training.targets)) & set(MLP_INPUTS)
        transient += 4 * len(adapted) * anatomy.hidden  # Gradients in the adapter's float32.
    if training.attention is Attention.EAGER:
        transient += SCORE_BYTES * size / 2 * anatomy.head_count * training.token_count
    return transient


def _logits(training: Training, library: Library) -> float:
    """Return what head and loss hold, in bytes."""
    anatomy, tokens = training.anatomy, _scored_token_count(training)
    if training.objective is Objective.REWARD_MODEL:
        return library.head_units_full * anatomy.hidden * tokens
    vocabulary, hidden = anatomy.vocabulary, anatomy.hidden
    if training.sharding is Sharding.TENSOR:
        vocabulary //= max(training.device_count, 1)
    if training.loss is Loss.FULL:
        held = library.logit_bytes_full * vocabulary + library.head_units_full * hidden
    elif training.loss is Loss.FUSED:
        held = library.logit_bytes_fused * vocabulary + library.head_units_fused * hidden
    elif training.loss is Loss.HELD_CHUNKS:
        held = library.logit_bytes_held_chunks * vocabulary + library.head_units_full * hidden
        # Each chunk adds its share to the gradient of a head that learns.
        gradient = training.compute_bytes * vocabulary * hidden if training.full else 0
        return held * tokens + gradient
    else:
        return library.head_units_sparing * hidden * tokens + _tile(training, library, tokens)
    if training.objective is Objective.PREFERENCE:
        held += 2 * vocabulary  # The reference's logits, in the compute format, beside them.
    return held * tokens


def _tile(training: Training, library: Library, tokens: int) -> float:
    """Return what a loss holds that goes tile by tile, in bytes."""
    anatomy = training.anatomy
    rows = min(tokens, library.chunk_token_count)
    columns = min(anatomy.vocabulary, library.chunk_vocabulary)
    # Where the head learns, its gradient is collected in float32.
    gradient = 4 * anatomy.vocabulary * anatomy.hidden if training.full else 0
    return training.compute_bytes * rows * columns + gradient


def _scored_token_count(training: Training) -> int:
    if training.rollout is None:
        return training.pass_token_count
    longest = min(training.rollout.completion_token_count, training.token_count)
    return training.row_count * longest
