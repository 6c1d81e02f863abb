"""Reads the shape of a model from its `config.json`, for models that no catalogue has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attune.spec.v1.compute_pb2 import ModelShape

from services.common.errors import Violation, invalid
from services.scheduler.memory.anatomy import layer_parameter_count, read_anatomy

UNGATED = frozenset(
    {"gpt2", "gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "falcon", "phi", "mpt", "starcoder2"}
)
"""Kinds whose feed-forward part has no gate."""
FOUR_NORMS = frozenset({"gemma2", "gemma3", "gemma3_text"})
"""Kinds that normalise what goes into a block and what comes out of it."""
QUERY_NORMS = frozenset({"qwen3", "qwen3_moe", "gemma3", "gemma3_text", "olmo2", "olmoe"})
UNTIED = frozenset({"llama", "mistral", "mixtral", "qwen2_moe", "qwen3_moe", "phi3", "gpt_neox"})
"""Kinds whose head is their own when the file does not say; Transformers writes only what differs
from a kind's default."""
NAMES = {
    "layer_count": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "vocabulary_size": ("vocab_size",),
    "head_count": ("num_attention_heads", "n_head", "n_heads"),
}
INNER = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", "ffn_config.ffn_hidden_size")
CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


def read_model_config(config: Mapping[str, Any], model_id: str) -> ModelShape:
    """Return the shape that a `config.json` describes; its parameters are counted from it.

    Args:
        config: The file's content.
        model_id: Id of the model.

    Raises:
        InvalidArgument: With every field that is missing or no positive number.
    """
    kind = str(config.get("model_type", ""))
    text = config.get("text_config")
    if isinstance(text, Mapping):  # Of a model that also sees or hears.
        config = {**config, **text}
        kind = str(text.get("model_type", kind))
    counts = {field: _count(config, names) for field, names in NAMES.items()}
    if missing := [field for field, value in counts.items() if value < 1]:
        raise invalid([_missing(field) for field in missing])
    experts = _count(config, EXPERTS)
    used = _count(config, ("num_experts_per_tok", "num_experts_per_token", "moe_top_k"))
    inner = _count(config, INNER) or 4 * counts["hidden_size"]
    if experts:
        shared = _count(config, ("shared_expert_intermediate_size",))
        own = _count(config, ("moe_intermediate_size",)) or inner
        inner = own * max(used, 1) + shared
    shape = ModelShape(
        id=model_id,
        layer_count=counts["layer_count"],
        hidden_size=counts["hidden_size"],
        vocabulary_size=counts["vocabulary_size"],
        head_count=counts["head_count"],
        context_length=_count(config, CONTEXT),
        intermediate_size=inner,
        kv_head_count=_kv_heads(config, counts["head_count"]),
        head_size=_count(config, ("head_dim",)),
        tied_embeddings=bool(config.get("tie_word_embeddings", kind not in UNTIED)),
        expert_count=experts,
        experts_per_token=max(used, 1) if experts else 0,
        ungated=kind in UNGATED,
        norm_count=4 if kind in FOUR_NORMS else 0,
        query_norms=kind in QUERY_NORMS,
    )
    shape.parameter_count = parameter_count(shape)
    return shape


def parameter_count(shape: ModelShape) -> int:
    """Return the parameters that follow from a shape; biases and routers are left out."""
    anatomy = read_anatomy(shape)
    norms = anatomy.norm_count * anatomy.hidden
    layers = anatomy.layer_count * (layer_parameter_count(anatomy) + norms)
    return layers + anatomy.embedding_count + anatomy.head_parameter_count + anatomy.hidden


def _kv_heads(config: Mapping[str, Any], head_count: int) -> int:
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        return 1
    return _count(config, ("num_key_value_heads", "num_kv_heads", "n_head_kv")) or head_count


def _count(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """Return the first of some fields that is a positive whole number, or 0."""
    for name in names:
        value: Any = config
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0


def _missing(field: str) -> Violation:
    names = " or ".join(NAMES[field])
    return Violation(f"config.{NAMES[field][0]}", "REQUIRED", f"It has no {names}. Add one.")
