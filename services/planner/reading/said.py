"""What a message says about data, as the readers of numbers and shares hand it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.planner.reading.message import Sentence
from services.planner.reading.quantities import Quantity
from services.planner.vocabulary import Shape

Spans = Mapping[Sentence, list[tuple[int, int]]]
"""Places in sentences that were understood."""


@dataclass(frozen=True)
class Said:
    """What was said about the data. None where nothing was."""

    shape: Shape | None = None
    row_count: int | None = None
    text_megabytes: float | None = None
    base_success: float | None = None
    target: float | None = None
    label_error_share: float | None = None
    agreement: float | None = None
    """Share of rows on which people agree."""
    holdout_rows: int | None = None
    scored_count: int | None = None
    """Answers that people scored."""
    uses_per_week: float | None = None
    label_count: int | None = None
    largest_label_share: float | None = None
    spans: dict[Sentence, list[tuple[int, int]]] = field(default_factory=dict)
    """Where shares stand that were understood."""


def overlaps(quantity: Quantity, spans: list[tuple[int, int]]) -> bool:
    """Return whether a number stands where something else was understood."""
    return any(quantity.start < end and start < quantity.end for start, end in spans)
