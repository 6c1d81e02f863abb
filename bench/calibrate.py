"""Measures the numbers of one entry of services/scheduler/memory/libraries.yaml, and prints it.

Usage: python -m bench.calibrate [--name transformers-5] [--fake]

For whoever owns a GPU and a few minutes: torch, transformers and peft are all it needs, models have
random weights, nothing is downloaded. With --fake it adds up the storages of fake tensors instead,
which any processor does in a minute; what only a device has (the allocator's slack, the context) is
then left out. Every value is a difference of two passes, so that what they share falls out.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import sys
import weakref
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, LlamaConfig

HIDDEN, INNER, HEADS = 2048, 6144, 16
TOKENS = 4096
FEW, MANY = 2, 6
"""Layers of the two models that are compared."""
SMALL, LARGE = 512, 65_536
"""Entries of the two vocabularies that are compared."""
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
RANK = 8
COUNTED_SAVED = 2 * 4 + 2 * 4 + 2 * 3 * INNER / HIDDEN
"""Bytes per unit of width that memory/activations.py counts for a layer of this model: two norms,
queries, keys, values and attention's output, three inner vectors."""
COUNTED_ADAPTERS = 2 * 4 + 2 * 4 * RANK * 2 / HIDDEN
COUNTED_FULL = 2 * 2 + 2 * 2 + 2 * INNER / HIDDEN
COUNTED_WORKING = 2 * 3 * INNER / HIDDEN + 3
"""What it counts beyond that while the layer is computed again."""


class Account(TorchDispatchMode):
    """Adds up the storages that live, as an allocator without rounding would."""

    def __init__(self) -> None:
        """Start at nothing."""
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count what it made."""
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: Any) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)


class Meter:
    """Reads what is held: of the device, or of fake tensors."""

    def __init__(self, fake: bool) -> None:
        """Choose."""
        self._account = Account() if fake else None
        self.device = "cpu" if fake else "cuda"

    def counting(self) -> AbstractContextManager[Any]:
        """Return the mode under which operations are counted."""
        return self._account or nullcontext()

    @property
    def now(self) -> int:
        """What is held now, in bytes."""
        return self._account.now if self._account else torch.cuda.memory_allocated()

    @property
    def peak(self) -> int:
        """Most that was held since the last reset."""
        return self._account.peak if self._account else torch.cuda.max_memory_allocated()

    @property
    def reserved(self) -> int:
        """Most that the allocator had taken since the last reset; 0 without one."""
        return 0 if self._account else torch.cuda.max_memory_reserved()

    def reset(self) -> None:
        """Forget peaks, and give back what is free."""
        gc.collect()
        if self._account:
            self._account.peak = self._account.now
        else:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


@dataclass(frozen=True)
class Pass:
    """What one pass held beyond what was there before it, in bytes."""

    saved: int
    peak: int
    slack: int
    """Reserved beyond the peak of what was allocated."""


def replace_parameters(self: nn.Module, function: Any, recurse: bool = True) -> nn.Module:
    """Move parameters as `Module._apply` does, without swapping tensors that are referred to."""
    for module in self.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                moved = function(parameter.detach())
                module._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = function(buffer)
    return self


def run(
    meter: Meter,
    config: Any,
    targets: tuple[str, ...],
    *,
    checkpointing: bool = False,
    tokens: int = TOKENS,
    dtype: torch.dtype = torch.bfloat16,
) -> Pass:
    """Run one pass of a model with random weights.

    Args:
        meter: Reads what is held; entered by the caller.
        config: Of the model.
        targets: Modules that an adapter is made for; none trains all weights.
        checkpointing: Whether activations are computed again.
        tokens: Of the one row.
        dtype: Of the weights; the pass runs under mixed precision if it is bfloat16.
    """
    with torch.device(meter.device):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    if targets:
        model = get_peft_model(
            model, LoraConfig(r=RANK, target_modules=list(targets), lora_dropout=0.0)
        )
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    model.train()
    meter.reset()
    before = meter.now
    ids = torch.zeros(1, tokens, dtype=torch.long, device=meter.device)
    with torch.autocast(meter.device, torch.bfloat16, enabled=dtype is torch.bfloat16):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    saved = meter.now - before
    if meter.device == "cpu":
        meter.reset()
    loss.backward()
    return Pass(saved, meter.peak - before, max(meter.reserved - meter.peak, 0))


def calibrate(meter: Meter) -> dict[str, float]:
    """Return the values of an entry."""
    # Fake tensors make transformers build a causal mask per layer, which real passes do without.
    mask = 2 * TOKENS * TOKENS if meter.device == "cpu" else 0
    unit = HIDDEN * TOKENS

    def adapted(layers: int, vocabulary: int, checkpointing: bool) -> Pass:
        return run(meter, _config(layers, vocabulary), TARGETS, checkpointing=checkpointing)

    few, many = adapted(FEW, SMALL, False), adapted(MANY, SMALL, False)
    layer = (many.saved - few.saved) / (MANY - FEW) - mask
    again = adapted(MANY, SMALL, True)
    # When the first layer is computed again, all gradients but its own are there.
    full = run(meter, _config(FEW, SMALL), (), checkpointing=True)
    matrices = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER
    gradients = 2 * ((FEW - 1) * matrices + 2 * SMALL * HIDDEN)
    wide = adapted(FEW, LARGE, True)
    wider = adapted(FEW, 2 * LARGE, True)
    per_entry = (wider.peak - wide.peak) / (LARGE * TOKENS)
    saved = COUNTED_SAVED + COUNTED_ADAPTERS
    values = {
        "layer_extra_units": layer / unit - saved,
        "recompute_adapter_units": (again.peak - mask) / unit
        - (2 * MANY + saved + COUNTED_WORKING),
        "recompute_full_units": (full.peak - mask - gradients) / unit
        - (2 + COUNTED_SAVED + COUNTED_FULL + COUNTED_WORKING),
        "logit_bytes_full": per_entry,
        "head_units_full": (wide.peak - per_entry * LARGE * TOKENS) / unit - 2 * FEW,
    }
    if meter.device != "cpu":
        free, total = torch.cuda.mem_get_info()
        values["slack_full"] = wide.slack / max(wide.peak, 1)
        values["slack_sparing"] = again.slack / max(again.peak, 1)
        values["context_bytes"] = float(total - free - torch.cuda.memory_reserved())
    return values


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="transformers-5")
    parser.add_argument("--fake", action="store_true")
    options = parser.parse_args()
    if not options.fake and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here. Run it where one is, or pass --fake.")
    meter = Meter(options.fake)
    if options.fake:
        nn.Module._apply = replace_parameters  # type: ignore[method-assign]
    fake: AbstractContextManager[Any] = (
        FakeTensorMode(allow_non_fake_inputs=True) if options.fake else nullcontext()
    )
    with fake, meter.counting():
        values = calibrate(meter)
    device = "fake tensors" if options.fake else torch.cuda.get_device_name()
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "peft")
    )
    source = f"calibrated {datetime.now(UTC):%Y-%m-%d}, {versions}, {device}"
    sys.stdout.write(f"{options.name}:\n")
    for name, value in values.items():
        sys.stdout.write(f"  {name}:\n    value: {value:.4g}\n    source: {source}\n")


def _config(layers: int, vocabulary: int) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        vocab_size=vocabulary,
        tie_word_embeddings=False,
    )


if __name__ == "__main__":
    main()
