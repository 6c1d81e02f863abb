"""Finds the base model that a person named, as freely as people name models."""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.planner.plan.catalogue import CatalogueModel

PARTS = re.compile(r"[a-z]+|\d+(?:\.\d+)?")
SIZE = re.compile(r"(?<![\d.a-z])(?:(\d{1,3})\s?x\s?)?(\d{1,4}(?:\.\d{1,3})?)\s?([bm])(?![a-z])")
UNITS = {"b": 1e9, "m": 1e6}
MAKER = "meta"
"""A word that stands before the name in older ids of the same models."""


def find_named(name: str, models: Sequence[CatalogueModel]) -> tuple[CatalogueModel, ...]:
    """Return the models that a name may mean; empty when there is none.

    An id or its last part is one model, whatever the case and the marks between its parts. Less
    than that, such as `Qwen3-4B-Instruct` or `Llama 8B`, means all ids that start with the same
    word and hold the other parts in the same order. A part that is given must be there: a name
    with another version is another model.

    Args:
        name: As it was written, at most 200 characters count.
        models: To look among.
    """
    wanted = name.strip().lower()[:200]
    for spelt in (str.lower, _squeezed):
        for model in models:
            if spelt(wanted) in (spelt(model.id), spelt(_own(model))):
                return (model,)
    if "/" in wanted:
        return ()
    parts = PARTS.findall(wanted)
    if parts[:1] == [MAKER]:
        parts = parts[1:]
    return tuple(model for model in models if _holds(PARTS.findall(_own(model)), parts))


def named_size(name: str) -> int:
    """Return the parameters that a name claims, such as `8B`, `350M` or `8x7B`; 0 for none.

    Experts are counted in full, which is an upper bound: they share attention.
    """
    match = SIZE.search(name.lower())
    if match is None:
        return 0
    return round(int(match[1] or 1) * float(match[2]) * UNITS[match[3]])


def _own(model: CatalogueModel) -> str:
    """Return an id without its maker, in lower case."""
    return model.id.rsplit("/", 1)[-1].lower()


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())


def _holds(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether parts start with the first wanted one and hold the others in the same order."""
    if not wanted or parts[:1] != list(wanted[:1]):
        return False
    rest = iter(parts)
    return all(part in rest for part in wanted)
