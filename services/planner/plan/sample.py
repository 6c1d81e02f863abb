"""A report's sample rows, as the report writes them whatever their shape in the file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One row to show or to grade."""

    prompt: str
    """What is asked, each message behind its role where there are several; may be empty."""
    answer: str
    """The answer that is wanted, the preferred one in pairs; may be empty."""
    rejected: str
    """The rejected answer in pairs; empty elsewhere."""
    system: str = ""
    """The system message; may be empty."""


def samples_of(rows: Iterable[str]) -> list[Sample]:
    """Return the rows that hold a prompt or an answer.

    Args:
        rows: JSON objects with texts under `system`, `prompt`, `answer` and `rejected`, each of
            which may be left out.
    """
    found = []
    for row in rows:
        body = json.loads(row)
        names = ("prompt", "answer", "rejected", "system")
        found.append(Sample(*(body.get(name, "") for name in names)))
    return [each for each in found if each.prompt or each.answer]
