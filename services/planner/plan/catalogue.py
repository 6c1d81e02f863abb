"""The base models that a plan may name, whether or not they are at hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from attune.planner.v1 import catalogue_pb2

CATALOGUE = Path(__file__).with_name("catalogue.yaml")
LISTED_MAX = 500
"""Models in one answer of ListBaseModels."""
PERMISSIVE = frozenset({"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause"})
"""Licences, in lower case, that ask for little more than the author's name."""


class CommercialUse(StrEnum):
    """Whether a licence lets the model, or what it writes, be sold."""

    YES = "yes"
    CONDITIONS = "conditions"
    """Under conditions, such as a limit on users or a list of forbidden uses."""
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class CatalogueModel:
    """A base model."""

    id: str
    """Catalogue id or hub id."""
    licence: str
    """SPDX identifier or the licence's own name; empty when unknown."""
    context_length: int
    """In tokens; 0 when unknown."""
    parameter_count: int
    """Embeddings included; 0 when unknown."""
    source: str
    """Where these facts stand."""
    revision: str = ""
    """Exact revision when it is at hand; empty otherwise."""
    active_parameter_count: int = 0
    """Parameters that one token uses, in a mixture of experts; 0 when it uses all of them."""
    languages: tuple[str, ...] = ()
    """Languages that its maker declares, ISO 639-1; empty when none is declared."""
    strengths: tuple[str, ...] = ()
    """What it is known to be good at, foremost first: `chat`, `code`, `math`, `reasoning`,
    `tool_calling`, `multilingual`, `translation`."""
    commercial_use: CommercialUse = CommercialUse.UNKNOWN
    """Whether its licence permits commercial use."""
    instruction_tuned: bool = False
    """Whether it follows instructions as it is; otherwise it only continues text."""
    gated: bool = False
    """Whether its owner must grant access before it can be fetched."""
    released: str = ""
    """Month of its release, `YYYY-MM`; empty when unknown."""

    @property
    def continues_text(self) -> bool:
        """Whether it is known to only continue text.

        A model without a release is none that the catalogue knows, and may follow instructions.
        """
        return bool(self.released) and not self.instruction_tuned

    @property
    def is_at_hand(self) -> bool:
        """Whether the trainer has it now."""
        return bool(self.revision)

    @property
    def is_permissive(self) -> bool:
        """Whether its licence is Apache-2.0, MIT or BSD."""
        return self.licence.lower() in PERMISSIVE

    @property
    def active_count(self) -> int:
        """Parameters that one token uses; 0 when unknown."""
        return self.active_parameter_count or self.parameter_count

    @property
    def billions(self) -> float:
        """Parameters in all, in billions."""
        return self.parameter_count / 1e9


def load_catalogue(path: Path = CATALOGUE) -> tuple[CatalogueModel, ...]:
    """Return the models of a file.

    Raises:
        TypeError: If an entry lacks a fact or its source, or has one too many.
        KeyError: If it names a licence or a list of languages that the file does not explain.
    """
    body = yaml.safe_load(path.read_text())
    return tuple(_model(entry, body) for entry in body["models"])


def _model(entry: dict[str, Any], body: dict[str, Any]) -> CatalogueModel:
    languages = entry.pop("languages")
    if isinstance(languages, str):
        languages = body["language_lists"][languages]["codes"]
    return CatalogueModel(
        **{name: value for name, value in entry.items() if name != "strengths"},
        languages=tuple(languages),
        strengths=tuple(entry["strengths"]),
        commercial_use=CommercialUse(body["licences"][entry["licence"]]["commercial_use"]),
    )


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
        known[model.id] = _at_hand(model, known.get(model.id))
    kept = [model for model in known.values() if not allowed or model.id in allowed]
    at_hand = sorted((each for each in kept if each.is_at_hand), key=lambda each: each.id)
    away = [each for each in kept if not each.is_at_hand]
    return (
        *sorted(at_hand, key=lambda each: each.parameter_count, reverse=True),
        *sorted(away, key=lambda each: each.parameter_count),
    )


def _at_hand(model: CatalogueModel, known: CatalogueModel | None) -> CatalogueModel:
    """Return a model of the trainer's with what only the catalogue knows of it."""
    if known is None:
        use = CommercialUse.YES if model.is_permissive else CommercialUse.UNKNOWN
        return replace(model, commercial_use=use)
    return replace(
        known,
        licence=model.licence or known.licence,
        context_length=model.context_length,
        parameter_count=model.parameter_count,
        source=model.source,
        revision=model.revision,
    )


def models_to_proto(models: Iterable[CatalogueModel]) -> list[catalogue_pb2.CatalogueModel]:
    """Return models as ListBaseModels answers them: smallest first, at most 500."""
    ordered = sorted(models, key=lambda model: (model.parameter_count, model.id))
    return [
        catalogue_pb2.CatalogueModel(
            id=model.id,
            licence=model.licence,
            context_length=model.context_length,
            parameter_count=model.parameter_count,
            active_parameter_count=model.active_count,
            languages=model.languages,
            strengths=model.strengths,
            gated=model.gated,
            at_hand=model.is_at_hand,
            source=model.source,
        )
        for model in ordered[:LISTED_MAX]
    ]
