"""Whether an answer has the form that a grader can make something of; pure."""

from __future__ import annotations

import json
import re

from attune.spec.v1.grader_pb2 import Grader

NUMBER = re.compile(r"\d")
JSON_KINDS = ("json_schema", "tool_call")
NUMBER_KINDS = ("numeric", "math")


def has_form(grader: Grader, text: str) -> bool:
    """Tell whether a grader can read an answer, however it scores it.

    An empty answer never has the form. For JSON and tool calls it must be JSON, for numbers and
    mathematics hold a digit, for a formula please all graders in it; other graders read any text.
    """
    if not text.strip():
        return False
    kind = grader.WhichOneof("kind")
    if kind in JSON_KINDS:
        return _is_json(text)
    if kind in NUMBER_KINDS:
        return NUMBER.search(text) is not None
    if kind == "multi":
        return all(has_form(one, text) for one in grader.multi.graders)
    return True


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
