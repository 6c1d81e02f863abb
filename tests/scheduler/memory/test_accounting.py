"""Counts against torch's own accounting: fake tensors of real widths, which hold no memory."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

from bench.calibrate import Meter, calibrate, replace_parameters, run
from services.scheduler.memory import Training
from services.scheduler.memory.activations import activations, saved_per_token
from services.scheduler.memory.anatomy import lora_count, read_anatomy
from services.scheduler.memory.library import read_table
from services.scheduler.memory.model_config import parameter_count, read_model_config
from services.scheduler.memory.training import Format, Loss, Tuning

TOKENS = 1024
VOCABULARY = 512
SIZES = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "vocab_size": VOCABULARY,
    "tie_word_embeddings": False,
}
LIBRARY = read_table()[0]["transformers-5"]
QKVO = ("q_proj", "k_proj", "v_proj", "o_proj")
CONFIGS = {
    "llama": lambda layers: LlamaConfig(**SIZES, num_hidden_layers=layers),
    "qwen2": lambda layers: Qwen2Config(**SIZES, num_hidden_layers=layers),
    "qwen3": lambda layers: Qwen3Config(**SIZES, head_dim=64, num_hidden_layers=layers),
    "gemma2": lambda layers: Gemma2Config(**SIZES, head_dim=64, num_hidden_layers=layers),
}


def measure(kind, layers, targets=(), checkpointing=False, dtype=torch.bfloat16):
    """Return one pass of a model of that kind."""
    meter = Meter(fake=True)
    with FakeTensorMode(allow_non_fake_inputs=True), meter.counting():
        return run(
            meter,
            CONFIGS[kind](layers),
            targets,
            checkpointing=checkpointing,
            tokens=TOKENS,
            dtype=dtype,
        )


@pytest.fixture(autouse=True)
def _no_swapping(monkeypatch):
    """Let peft move fake parameters: torch swaps tensors that the accounting refers to."""
    monkeypatch.setattr(nn.Module, "_apply", replace_parameters)


def a_training(config, layers, **changes):
    shape = read_model_config(config.to_dict(), "tests/some")
    values = {
        "anatomy": read_anatomy(shape),
        "tuning": Tuning.LORA,
        "weights": Format.BFLOAT16,
        "micro_batch_size": 1,
        "token_count": TOKENS,
        "rank": 8,
        "targets": QKVO,
        "loss": Loss.FULL,
        "checkpointing": False,
    }
    return Training(**{**values, **changes})


MASK = 2 * TOKENS * TOKENS
"""Under fake tensors transformers makes a causal mask for every layer, which real runs without
padding do not have: bfloat16, tokens x tokens."""


@pytest.mark.parametrize("kind", CONFIGS)
def test_parameters_are_counted_as_torch_counts_them(kind):
    config = CONFIGS[kind](2)
    shape = read_model_config(config.to_dict(), "tests/some")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        total = sum(parameter.numel() for parameter in model.parameters())
        adapted = get_peft_model(model, LoraConfig(r=8, target_modules=list(QKVO)))
    assert parameter_count(shape) == pytest.approx(total, rel=0.001)
    learning = sum(each.numel() for each in adapted.parameters() if each.requires_grad)
    assert lora_count(read_anatomy(shape), 8, QKVO) == learning


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        *((kind, QKVO) for kind in CONFIGS),
        ("llama", ("q_proj", "v_proj")),
        ("qwen3", ("down_proj",)),
    ],
)
def test_what_a_layer_saves_is_what_autograd_holds(kind, targets):
    """Compare two depths, so that what all depths have in common falls out."""
    measured = (measure(kind, 4, targets).saved - measure(kind, 2, targets).saved) / 2 - MASK
    training = a_training(CONFIGS[kind](2), 2, targets=targets)
    assert saved_per_token(training, LIBRARY) * TOKENS == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_full_fine_tuning_saves_the_inputs_of_matrices_too(kind):
    measured = (measure(kind, 4).saved - measure(kind, 2).saved) / 2 - MASK
    training = a_training(CONFIGS[kind](2), 2, tuning=Tuning.FULL, rank=0, targets=())
    assert saved_per_token(training, LIBRARY) * TOKENS == pytest.approx(measured, rel=0.05)


def test_float32_saves_what_processors_hold():
    measured = (
        measure("llama", 4, QKVO, dtype=torch.float32).saved
        - measure("llama", 2, QKVO, dtype=torch.float32).saved
    ) / 2 - 2 * MASK
    training = a_training(CONFIGS["llama"](2), 2, compute_bytes=4, autocast=False)
    assert saved_per_token(training, LIBRARY) * TOKENS == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_checkpointing_stores_one_vector_per_layer(kind):
    deep, flat = (measure(kind, layers, QKVO, checkpointing=True) for layers in (4, 2))
    assert (deep.saved - flat.saved) / 2 == pytest.approx(2 * 1024 * TOKENS, rel=0.05)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_recomputed_layer_makes_what_torch_makes(kind):
    """Compare the peak of the backward pass, in a model whose vocabulary counts for little."""
    measured = measure(kind, 4, QKVO, checkpointing=True)
    passing = activations(a_training(CONFIGS[kind](4), 4, checkpointing=True), LIBRARY)
    counted = passing.stored + passing.working
    assert counted + MASK == pytest.approx(measured.peak, rel=0.08)


def test_calibration_under_fake_tensors_finds_the_table_of_this_version():
    meter = Meter(fake=True)
    with FakeTensorMode(allow_non_fake_inputs=True), meter.counting():
        values = calibrate(meter)
    assert values["logit_bytes_full"] == pytest.approx(LIBRARY.logit_bytes_full, rel=0.01)
    assert values["head_units_full"] == pytest.approx(LIBRARY.head_units_full, abs=0.5)
    assert values["layer_extra_units"] == pytest.approx(LIBRARY.layer_extra_units, abs=0.5)
    assert values["recompute_adapter_units"] == pytest.approx(0, abs=3)
    assert values["recompute_full_units"] == pytest.approx(0, abs=3)
