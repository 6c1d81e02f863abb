"""Counts against torch's own accounting: fake tensors of real widths, which hold no memory."""

import weakref
from dataclasses import dataclass, field

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

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


class Account(TorchDispatchMode):
    """Adds up the storages that live, as torch's allocator would on a device."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.sizes = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage):
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key):
        self.now -= self.sizes.pop(key, 0)


@dataclass
class Measured:
    """Bytes of one pass beyond what was there before it."""

    saved: int
    """Held between forward and backward pass."""
    peak: int
    """Most of the backward pass."""
    config: object = field(repr=False)
    parameter_count: int = 0
    adapter_count: int = 0


def measure(kind, layers, targets=(), checkpointing=False, dtype=torch.bfloat16):
    config = CONFIGS[kind](layers)
    with FakeTensorMode(allow_non_fake_inputs=True), Account() as account:
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        total = sum(parameter.numel() for parameter in model.parameters())
        if targets:
            model = get_peft_model(
                model, LoraConfig(r=8, target_modules=list(targets), lora_dropout=0.0)
            )
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        model.train()
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        before = account.now
        ids = torch.zeros(1, TOKENS, dtype=torch.long)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        saved = account.now - before
        account.peak = 0
        loss.backward()
        peak = account.peak - before
        adapter = sum(parameter.numel() for parameter in learning) if targets else 0
    return Measured(saved, peak, config, total, adapter)


@pytest.fixture(autouse=True)
def _replace_parameters(monkeypatch):
    """Let peft move fake parameters: torch swaps tensors that the accounting refers to."""

    def move(self, function, recurse=True):
        for module in self.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    moved = function(parameter.detach())
                    module._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
        return self

    monkeypatch.setattr(nn.Module, "_apply", move)


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
    measured = measure(kind, 2, QKVO)
    shape = read_model_config(measured.config.to_dict(), "tests/some")
    assert parameter_count(shape) == pytest.approx(measured.parameter_count, rel=0.001)
    assert lora_count(read_anatomy(shape), 8, QKVO) == measured.adapter_count


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


@pytest.mark.parametrize("kind", CONFIGS)
def test_checkpointing_stores_one_vector_per_layer(kind):
    deep, flat = (measure(kind, layers, QKVO, checkpointing=True) for layers in (6, 2))
    assert (deep.saved - flat.saved) / 4 == pytest.approx(2 * 1024 * TOKENS, rel=0.05)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_recomputed_layer_makes_what_torch_makes(kind):
    """Compare the peak of the backward pass, in a model whose vocabulary counts for little."""
    measured = measure(kind, 4, QKVO, checkpointing=True)
    passing = activations(a_training(CONFIGS[kind](4), 4, checkpointing=True), LIBRARY)
    counted = passing.stored + passing.working
    assert counted + MASK == pytest.approx(measured.peak, rel=0.08)
