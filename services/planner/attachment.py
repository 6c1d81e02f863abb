"""Which of the datasets that came with a message is learnt from, and which is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.planner.dataset.facts import DatasetFacts


@dataclass(frozen=True)
class Attachment:
    """The parts that datasets play."""

    dataset: str
    """Name of the one to learn from."""
    holdout_dataset: str
    """Name of the one that is held out; empty when a share is."""
    notes: tuple[str, ...] = ()
    """What is to be said about it."""


def assign(attached: Sequence[DatasetFacts]) -> Attachment:
    """Return the part of each dataset; there must be at least one.

    What names a hold-out is learnt from. Otherwise the largest is, and the second of two is held
    out.
    """
    naming = [facts for facts in attached if facts.holdout_dataset]
    by_size = sorted(attached, key=lambda facts: facts.report.row_count, reverse=True)
    chosen = naming[0] if naming else by_size[0]
    others = [facts for facts in by_size if facts.name != chosen.name]
    holdout, notes = chosen.holdout_dataset, []
    if not holdout and len(others) == 1:
        holdout = others[0].name
        notes.append(f"I hold out {others[0].display_name} and learn from {chosen.display_name}.")
    unused = [facts.display_name for facts in others if facts.name != holdout]
    if unused:
        notes.append(f"A plan learns from one dataset, so {', '.join(unused)} is left aside.")
    return Attachment(chosen.name, holdout, tuple(notes))
