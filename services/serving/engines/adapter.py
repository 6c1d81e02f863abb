"""Whether an adapter is one that the engine can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RANK_MAX = 16
"""Largest LoRA rank; the engine sets memory aside for it in every place."""


def objection_to(config: Mapping[str, Any]) -> str:
    """Return why the engine cannot hold an adapter, or an empty text if it can.

    Args:
        config: Content of `adapter_config.json`.
    """
    found = []
    if config.get("peft_type") != "LORA":
        found.append(f"peft_type is {config.get('peft_type')!r}, not 'LORA'")
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    wrong = [rank for rank in ranks if not isinstance(rank, int) or not 1 <= rank <= RANK_MAX]
    if wrong:
        found.append(f"its rank is {wrong[0]!r}; it must be 1 to {RANK_MAX}")
    if config.get("use_dora"):
        found.append("it uses DoRA")
    if config.get("modules_to_save"):
        found.append(f"it replaces whole modules: {config['modules_to_save']!r}")
    if config.get("bias", "none") != "none":
        found.append(f"it trains biases ({config['bias']!r})")
    return "; ".join(found)
