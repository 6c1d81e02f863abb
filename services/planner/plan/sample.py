"""A report's sample rows as question and answer, whatever their shape."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

PROMPT_KEYS = ("prompt", "input", "question", "instruction", "query")
ANSWER_KEYS = ("completion", "chosen", "preferred_output", "output", "response", "answer",
               "reference", "reference_answer", "solution", "expected")  # fmt: skip
REJECTED_KEYS = ("rejected", "non_preferred_output")


@dataclass(frozen=True)
class Sample:
    """One row to show or to grade."""

    prompt: str
    """What is asked; may be empty."""
    answer: str
    """The answer that is wanted, the preferred one in pairs; may be empty."""
    rejected: str
    """The rejected answer in pairs; empty elsewhere."""


def samples_of(rows: Iterable[str]) -> list[Sample]:
    """Return the rows that can be read.

    Args:
        rows: JSON objects of any shape that a report knows; others are left out.
    """
    found = []
    for row in rows:
        try:
            body = json.loads(row)
        except ValueError:
            continue
        if isinstance(body, dict):
            found.append(_sample(body))
    return [each for each in found if each.prompt or each.answer]


def _sample(body: dict[str, Any]) -> Sample:
    messages = body.get("messages")
    if isinstance(messages, list):
        turns = [each for each in messages if isinstance(each, dict)]
        answers = [_text(each.get("content")) for each in turns if each.get("role") == "assistant"]
        asked = [_text(each.get("content")) for each in turns if each.get("role") == "user"]
        answer = answers[-1] if answers else _first(body, ANSWER_KEYS)
        return Sample(asked[-1] if asked else "", answer, "")
    prompt = _first(body, PROMPT_KEYS)
    return Sample(prompt, _first(body, ANSWER_KEYS), _first(body, REJECTED_KEYS))


def _first(body: dict[str, Any], keys: Iterable[str]) -> str:
    return next((_text(body[key]) for key in keys if body.get(key) not in (None, "")), "")


def _text(value: Any) -> str:
    """Return a value as text: the last message of a list of them, JSON of anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and "messages" in value:
        return _text(value["messages"])
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        return _text(value[-1].get("content", value[-1]))
    return "" if value is None else json.dumps(value, ensure_ascii=False)
