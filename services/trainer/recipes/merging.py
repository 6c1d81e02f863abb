"""An adapter and its base as one model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from peft import PeftModel

from services.common.errors import FailedPrecondition
from services.trainer.recipes.model import load_base

FORMATS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def merge(base: Path, adapter: Path, target: Path) -> None:
    """Write a base with an adapter added to its weights, in the number format of the base.

    The sum is made in float32: half formats would round it before it is rounded for good.

    Args:
        base: Folder of the base model.
        adapter: Folder of the adapter.
        target: An existing folder; gets weights and configuration.

    Raises:
        FailedPrecondition: If the sum holds numbers that are none.
    """
    model = PeftModel.from_pretrained(
        load_base(base, torch.float32), str(adapter), is_trainable=False
    )
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise FailedPrecondition(
            f"Adapter {adapter.name[:12]} cannot be merged: {error}. Train it again.",
            reason="ADAPTER_BROKEN",
            adapter_sha256=adapter.name,
        ) from None
    merged.to(_format_of(base)).save_pretrained(target, safe_serialization=True)


def _format_of(folder: Path) -> torch.dtype:
    """Return the number format that a model is kept in; float32 when nothing says it."""
    config = json.loads((folder / "config.json").read_text())
    return FORMATS.get(config.get("dtype") or config.get("torch_dtype") or "", torch.float32)
