"""What memory owes to the version of a library: the table `libraries.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("libraries.yaml")


@dataclass(frozen=True)
class Library:
    """The numbers of one family of versions; the table says where each comes from."""

    norm_bytes: float
    layer_extra_units: float
    layer_extra_quantised_units: float
    recompute_adapter_units: float
    recompute_quantised_units: float
    recompute_full_units: float
    logit_bytes_full: float
    logit_bytes_fused: float
    logit_bytes_held_chunks: float
    head_units_full: float
    head_units_fused: float
    head_units_sparing: float
    chunk_token_count: float
    chunk_vocabulary: float
    doubles_sharded_checkpoints: float
    keeps_gathered: float
    quantised_saves_inputs: float
    experts_in_turn: float
    slack_full: float
    slack_fused: float
    slack_sparing: float
    slack_sharded: float
    context_bytes: float


@dataclass(frozen=True)
class Spreads:
    """How far the parts may be off, as shares; the table says why."""

    states: float
    activations: float
    logits: float
    gathered: float
    fixed_bytes: float
    largest: float
    slack: float


@cache
def read_table() -> tuple[Mapping[str, Library], Spreads]:
    """Return the libraries by name, and the spreads, of this version."""
    table = yaml.safe_load(TABLE.read_text())
    table.pop("version")
    defaults, spreads = _values(table.pop("defaults")), _values(table.pop("spreads"))
    libraries = {
        name: Library(**{**defaults, **_values(entries)}) for name, entries in table.items()
    }
    return libraries, Spreads(**spreads)


def _values(entries: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(entry["value"]) for name, entry in entries.items()}
