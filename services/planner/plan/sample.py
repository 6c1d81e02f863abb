"""A report's sample rows, as the report writes them whatever their shape in the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from attune.planner.v1 import dataset_pb2

from services.planner.vocabulary import Task

CODE = re.compile(r"```|^\s*(?:def|class|import|from|function|SELECT|public|#include)\b", re.M)
"""How a program, a query or a test of one begins."""
NUMBER = re.compile(r"[-+]?[\d.,]+(?:\s*(?:%|[^\W\d]{1,12}))?")
"""A number with or without its unit."""


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


def task_of_references(report: dataset_pb2.DatasetReport) -> Task | None:
    """Return the task that the format of rows, or the form of their references, leaves no doubt of.

    Args:
        report: Of the rows; its sample rows hold the references as answers.
    """
    if report.format == "tool_calls":
        return Task.TOOL_CALLING
    if report.format != "prompts_with_reference":
        return None
    answers = [each.answer.strip() for each in samples_of(report.sample_rows) if each.answer]
    if answers and all(NUMBER.fullmatch(answer) for answer in answers):
        return Task.MATH_REASONING
    return Task.CODE if answers and all(CODE.search(answer) for answer in answers) else None
