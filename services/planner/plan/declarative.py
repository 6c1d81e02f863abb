"""What graders without a model and without code give to an answer; pure, for previews."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from attune.spec.v1 import grader_pb2

NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?")
BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
SIMILARITY_CHARACTERS_MAX = 2000
"""Longer texts are compared by their beginnings: the comparison's time grows with the square."""
_NOT_JSON = object()


def score(grader: grader_pb2.Grader, answer: str, reference: str) -> float | None:
    """Return what a grader gives an answer, in [0, 1]; None when a model or code must be asked.

    Args:
        grader: Of any kind.
        answer: What a model could have written.
        reference: What is right.
    """
    kind = grader.WhichOneof("kind")
    if kind == "string_check":
        return _string_check(grader.string_check, answer, reference)
    if kind == "json_schema":
        return _json_schema(grader.json_schema, answer, reference)
    if kind == "numeric":
        found, wanted = _number(answer), _number(reference)
        near = found is not None and wanted is not None
        return float(near and abs(found - wanted) <= grader.numeric.tolerance)  # type: ignore[operator]
    if kind == "math":
        return float(_result(answer) == _result(reference) != "")
    if kind == "regex":
        return float(re.search(grader.regex.pattern, answer) is not None)
    if kind == "length":
        most = grader.length.max_characters if grader.length.HasField("max_characters") else None
        return float(
            len(answer) >= grader.length.min_characters and (most is None or len(answer) <= most)
        )
    if kind == "tool_call":
        return _tool_call(grader.tool_call, answer, reference)
    if kind == "text_similarity" and grader.text_similarity.evaluation_metric == "fuzzy_match":
        cut = SIMILARITY_CHARACTERS_MAX
        return SequenceMatcher(None, answer[:cut], reference[:cut]).ratio()
    return None


def _string_check(check: grader_pb2.StringCheckGrader, answer: str, reference: str) -> float | None:
    found, wanted = _fill(check.input, answer, reference), _fill(check.reference, answer, reference)
    if found is None or wanted is None:
        return None
    results = {
        grader_pb2.StringCheckGrader.OPERATION_EQ: found == wanted,
        grader_pb2.StringCheckGrader.OPERATION_NE: found != wanted,
        grader_pb2.StringCheckGrader.OPERATION_LIKE: wanted in found,
        grader_pb2.StringCheckGrader.OPERATION_ILIKE: wanted.casefold() in found.casefold(),
    }
    return float(results.get(check.operation, False))


def _fill(template: str, answer: str, reference: str) -> str | None:
    """Return a filled template; None when it names something else than answer and reference."""
    filled = template.replace("{{sample.output_text}}", answer)
    filled = filled.replace("{{item.reference}}", reference)
    return (
        None
        if "{{" in template.replace("{{sample.output_text}}", "").replace("{{item.reference}}", "")
        else filled
    )


def _json_schema(check: grader_pb2.JsonSchemaGrader, answer: str, reference: str) -> float | None:
    found = _json(answer)
    if found is _NOT_JSON:
        return 0.0
    if check.json_schema:
        schema = _json(check.json_schema)
        if not isinstance(schema, dict):
            return None
        if not _matches(found, schema):
            return 0.0
    if not check.reference:
        return 1.0
    expected = _json(reference)
    return float(expected is not _NOT_JSON and _canonical(found) == _canonical(expected))


def _matches(value: Any, schema: Mapping[str, Any]) -> bool:
    """Return whether a value keeps type, required keys, keys' schemas and listed values."""
    kinds = TYPES.get(str(schema.get("type", "")))
    if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, dict):
        if any(key not in value for key in schema.get("required", ())):
            return False
        inner = schema.get("properties", {})
        return all(_matches(value[key], inner[key]) for key in inner if key in value)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return all(_matches(each, schema["items"]) for each in value)
    return True


def _tool_call(check: grader_pb2.ToolCallGrader, answer: str, reference: str) -> float:
    found, wanted = _json(answer), _json(reference)
    if found is _NOT_JSON or wanted is _NOT_JSON:
        return 0.0
    if check.HasField("compare_arguments") and not check.compare_arguments:
        return float(_names(found) == _names(wanted) != [])
    return float(_canonical(found) == _canonical(wanted))


def _names(calls: Any) -> list[str]:
    entries = calls if isinstance(calls, list) else [calls]
    found = []
    for each in entries:
        inner = each.get("function", each) if isinstance(each, dict) else {}
        found.append(str(inner.get("name", "")) if isinstance(inner, dict) else "")
    return [name for name in found if name]


def _number(text: str) -> float | None:
    """Return the last number of a text."""
    found = NUMBER.findall(text)
    if not found:
        return None
    try:
        return float(found[-1].replace(",", ""))
    except ValueError:
        return None


def _result(text: str) -> str:
    """Return what a mathematical answer comes to, in a form that can be compared."""
    boxed = BOXED.findall(text)
    last = boxed[-1] if boxed else text.strip().rsplit("\n", 1)[-1]
    number = _number(last)
    return f"{number:.10g}" if number is not None else re.sub(r"\s+", "", last)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
