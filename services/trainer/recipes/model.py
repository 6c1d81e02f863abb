"""The model of a stage, by the weights that its method changes. Shapes: see the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from attune.spec.v1.compute_pb2 import ParallelPlan
from attune.spec.v1.stage_pb2 import LoraParameters, Method
from peft import LoraConfig, PeftConfig, PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from services.trainer.recipes import METHODS
from services.trainer.recipes.training import Training

DTYPES = {
    ParallelPlan.PRECISION_BFLOAT16: torch.bfloat16,
    ParallelPlan.PRECISION_FLOAT16: torch.float16,
}
"""Of the half formats; all else is float32."""
ALL_LINEAR = "all-linear"
ATTENTION = "sdpa"
"""Kernel of torch; it is there on every device."""


def load_model(training: Training) -> Any:
    """Return the model of a stage as its method needs it.

    It has an adapter only if that is one to go on training; a new one is the trainer's to add.
    """
    base = _base_of(training)
    if training.base_adapter is None:
        return base
    config = PeftConfig.from_pretrained(str(training.base_adapter))
    config.lora_dropout = training.hyperparameters.lora.dropout
    return PeftModel.from_pretrained(
        base, str(training.base_adapter), config=config, is_trainable=True
    )


def _base_of(training: Training) -> Any:
    dtype = dtype_of(training.plan)
    if training.method == Method.METHOD_FULL:
        # AdamW needs float32 weights; mixed precision casts them for the passes.
        return load_base(training.model_folder, torch.float32)
    if training.method == Method.METHOD_QLORA:
        return load_base(training.model_folder, dtype, four_bits(dtype))
    return load_base(training.model_folder, dtype)


def load_base(
    folder: Path, dtype: torch.dtype, quantisation: BitsAndBytesConfig | None = None
) -> Any:
    """Return a model from its folder; no code of the folder runs.

    Args:
        folder: Of the model.
        dtype: Of its weights, or of all that is not quantised.
        quantisation: How its matrices are quantised, on the first GPU; None for not at all.
    """
    return AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation=ATTENTION,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        **({} if quantisation is None else _quantised(quantisation)),
    )


def dtype_of(plan: ParallelPlan) -> torch.dtype:
    """Return what a frozen base is loaded in; adapters stay in float32, as a scaled loss needs."""
    return DTYPES.get(plan.precision, torch.float32)


def four_bits(dtype: torch.dtype) -> BitsAndBytesConfig:
    """Return how QLoRA holds the base: NF4 with quantised scales (Dettmers et al., 2023).

    Args:
        dtype: That the matrices are multiplied in.
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def widen_learnt(model: Any) -> None:
    """Bring what learns from half precision to float32, as small steps and a scaled loss need.

    TRL makes adapters of a 4-bit base bfloat16, in which a step of less than a 256th of a weight is
    lost; and peft makes them float32 again where a training goes on from a checkpoint.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()


def adapter(training: Training) -> LoraConfig | None:
    """Return peft's settings of a new adapter; None where there is one, or all weights learn."""
    if training.base_adapter is not None or not METHODS[training.method].is_adapter:
        return None
    return lora(training.hyperparameters.lora, has_magnitudes=training.method == Method.METHOD_DORA)


def lora(values: LoraParameters, *, has_magnitudes: bool = False) -> LoraConfig:
    """Return peft's settings of an adapter.

    Args:
        values: Of the spec.
        has_magnitudes: Whether the size of each output is learnt apart from its direction (DoRA).
    """
    modules = list(values.target_modules)
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=values.rank,
        lora_alpha=values.alpha,
        lora_dropout=values.dropout,
        target_modules=ALL_LINEAR if modules == [ALL_LINEAR] else modules,
        bias="none",
        use_rslora=values.rank_stabilized,
        use_dora=has_magnitudes,
        init_lora_weights=True,
    )


def _quantised(quantisation: BitsAndBytesConfig) -> dict[str, Any]:
    return {"quantization_config": quantisation, "device_map": {"": 0}}
