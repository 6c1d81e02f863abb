"""A page: what stands on it, whatever it is written in. Plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Paragraph:
    """Sentences."""

    text: str


@dataclass(frozen=True)
class Points:
    """Sentences that stand below each other."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows under a header."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Chart:
    """A drawing; what it shows also stands in a table or a sentence beside it."""

    title: str
    svg: str


@dataclass(frozen=True)
class Example:
    """One row with both answers."""

    prompt: str
    reference: str
    base_answer: str
    tuned_answer: str
    base_score: float
    tuned_score: float


@dataclass(frozen=True)
class Examples:
    """Rows whose answers are shown side by side."""

    rows: Sequence[Example]


@dataclass(frozen=True)
class Matrix:
    """How often each label was taken for each; the last column is for none of them."""

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]


Block = Paragraph | Points | Table | Chart | Examples | Matrix


@dataclass(frozen=True)
class Section:
    """Blocks under a title."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """All of it."""

    title: str
    verdict: str
    """`better`, `worse` or `cannot tell`."""
    lead: str
    """The verdict as a sentence."""
    sections: Sequence[Section] = field(default_factory=tuple)
