"""The base models that a plan may name, whether or not they are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

CATALOGUE = Path(__file__).with_name("catalogue.yaml")


@dataclass(frozen=True)
class CatalogueModel:
    """A base model."""

    id: str
    """Catalogue id or hub id."""
    licence: str
    """SPDX identifier or the licence's own name; empty when unknown."""
    context_length: int
    """In tokens."""
    parameter_count: int
    """Embeddings included."""
    source: str
    """Where these facts stand."""
    revision: str = ""
    """Exact revision when it is at hand; empty otherwise."""

    @property
    def is_at_hand(self) -> bool:
        """Whether the trainer has it now."""
        return bool(self.revision)


def load_catalogue(path: Path = CATALOGUE) -> tuple[CatalogueModel, ...]:
    """Return the models of a file.

    Raises:
        TypeError: If an entry lacks a fact or its source, or has one too many.
    """
    entries = yaml.safe_load(path.read_text())["models"]
    return tuple(CatalogueModel(**entry) for entry in entries)


def narrow(
    catalogue: Sequence[CatalogueModel], local: Sequence[CatalogueModel], allowed: Sequence[str]
) -> tuple[CatalogueModel, ...]:
    """Return the models that a plan may name, best default first.

    What is at hand comes first, the largest of it foremost; then what would have to be fetched,
    the smallest foremost.

    Args:
        catalogue: What is known.
        local: What the trainer has; its facts win over the catalogue's.
        allowed: Ids that the operator allows; empty for all.
    """
    known = {model.id: model for model in catalogue}
    for model in local:
        licence = model.licence or (known[model.id].licence if model.id in known else "")
        known[model.id] = replace(model, licence=licence)
    kept = [model for model in known.values() if not allowed or model.id in allowed]
    at_hand = sorted((each for each in kept if each.is_at_hand), key=lambda each: each.id)
    away = [each for each in kept if not each.is_at_hand]
    return (
        *sorted(at_hand, key=lambda each: each.parameter_count, reverse=True),
        *sorted(away, key=lambda each: each.parameter_count),
    )
