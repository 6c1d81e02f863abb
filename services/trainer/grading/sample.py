"""What a grader is given and what it returns; plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """One answer and the row that it answers."""

    output_text: str
    """What the model said."""
    item: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the row; `reference` is always there as text for rows of a dataset."""
    output_tools: Sequence[Mapping[str, Any]] = ()
    """Tool calls of the answer, each with `name` and `arguments`."""
    base_text: str | None = None
    """What the base model answered to the same row, for graders that compare; None if unknown."""


@dataclass(frozen=True)
class Graded:
    """What a grader makes of one sample; exactly one of score and error is set."""

    score: float | None
    """In [0, 1]; None when it could not be graded."""
    error: str = ""
    """Why it could not be graded, in one sentence."""


Grade = Callable[[Sequence[Sample]], list[Graded]]
"""Grades a batch, in its order; failures of single samples are in the results."""
