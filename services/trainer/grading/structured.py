"""Graders that read what an answer holds: JSON, tool calls, a number; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import referencing
import referencing.exceptions
import regex  # type: ignore[import-untyped]
from attune.spec.v1.grader_pb2 import JsonSchemaGrader, NumericGrader, ToolCallGrader

from services.common.errors import InvalidArgument
from services.trainer.grading.sample import Fault, Sample, Score, Ungradable
from services.trainer.grading.template import NOT_JSON, canonical, compile_template, parse_json

NUMBER = re.compile(r"(?:(?<![\w.,)])[-\u2212+])?\d+(?:[.,]\d+)*(?:[eE][-+]?\d{1,4})?")
"""A number, with a sign that is not a minus between two others."""
THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?")
RESULT = re.compile(r"(?:####|\\boxed\s*\{)\s*([^{}\n]*)")
"""How answers mark their result: as in GSM8K, or boxed."""
NUMBER_CHARACTERS_MAX = 400
CALL_TAG = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
"""How models write calls in their text."""
PATTERN_TIMEOUT_S = 1.0
"""Longest search of a schema's pattern in one value."""


def json_schema(name: str, settings: JsonSchemaGrader) -> Score:
    """Return the function that checks JSON, its schema and its fields.

    Raises:
        InvalidArgument: If the template or the schema is wrong.
    """
    validator = _validator(name, settings.json_schema) if settings.json_schema else None
    expect = compile_template(name, settings.reference) if settings.reference else None

    def score(sample: Sample) -> float:
        found = parse_json(sample.output_text)
        if found is NOT_JSON:
            return 0.0
        if validator is not None and not _is_valid(name, validator, found):
            return 0.0
        if expect is None:
            return 1.0
        expected = parse_json(expect(sample))
        if expected is NOT_JSON:
            raise _unfit(name, "JSON", expect(sample))
        return float(canonical(found) == canonical(expected))

    return score


def tool_call(name: str, settings: ToolCallGrader) -> Score:
    """Return the function that compares tool calls, in whatever order they stand.

    Where the reference holds no calls, as of a row that is answered in words, an answer without
    calls is right.

    Raises:
        InvalidArgument: If the template is wrong.
    """
    expect = compile_template(name, settings.reference)
    with_arguments = settings.compare_arguments or not settings.HasField("compare_arguments")

    def score(sample: Sample) -> float:
        expected = _calls(parse_json(expect(sample)))
        found = _calls(list(sample.output_tools)) if sample.output_tools else _said(sample)
        if found is None or expected is None:
            return float(found is expected)
        return float(_comparable(found, with_arguments) == _comparable(expected, with_arguments))

    return score


def numeric(name: str, settings: NumericGrader) -> Score:
    """Return the function that compares the last number of the answer with the expected one.

    Raises:
        InvalidArgument: If the template or the tolerance is wrong.
    """
    expect = compile_template(name, settings.reference)
    if not settings.tolerance >= 0:
        raise InvalidArgument(
            f"Grader '{name}' has a tolerance of {settings.tolerance:g}. Make it at least 0.",
            reason="UNSUPPORTED_GRADER",
            grader=name,
        )
    tolerance = Decimal(repr(settings.tolerance))

    def score(sample: Sample) -> float:
        expected = last_number(expect(sample))
        if expected is None:
            raise _unfit(name, "a number", expect(sample))
        found = last_number(sample.output_text)
        if found is None:
            return 0.0
        if found == expected:
            return 1.0
        try:
            return float(abs(found - expected) <= tolerance)
        except ArithmeticError:
            return 0.0  # So far apart that the difference is no number any more.

    return score


def last_number(text: str) -> Decimal | None:
    """Return the number of the marked result, else the last one of a text; None without any."""
    marked = RESULT.findall(text)
    for part in (marked[-1], text) if marked else (text,):
        if (found := NUMBER.findall(part)) and len(found[-1]) <= NUMBER_CHARACTERS_MAX:
            return _decimal(found[-1])
    return None


def _decimal(text: str) -> Decimal | None:
    text = text.replace("\u2212", "-")
    if "," in text:
        # 1,234.5 has thousands; 3,14 a decimal comma; 1.234,5 both the other way round.
        if THOUSANDS.fullmatch(text.lstrip("+-")):
            text = text.replace(",", "")
        elif text.count(",") == 1:
            text = text.replace(".", "").replace(",", ".")
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _validator(name: str, text: str) -> Any:
    try:
        schema = json.loads(text)
        kind = jsonschema.validators.validator_for(schema)
        kind.check_schema(schema)
    except (ValueError, RecursionError, jsonschema.SchemaError) as error:
        raise InvalidArgument(
            f"Grader '{name}' holds no JSON Schema: {str(error).splitlines()[0]}. Correct it.",
            reason="UNSUPPORTED_GRADER",
            grader=name,
        ) from None
    bounded = jsonschema.validators.extend(
        kind, {"pattern": _pattern, "patternProperties": _pattern_properties}
    )
    # An empty registry: a schema that names another by its address fetches nothing.
    return bounded(schema, registry=referencing.Registry())


def _is_valid(name: str, validator: Any, found: Any) -> bool:
    try:
        return bool(validator.is_valid(found))
    except RecursionError:
        return False  # Nested more deeply than any answer that was wanted.
    except TimeoutError:
        raise Ungradable(
            Fault.UNRESPONSIVE_REWARD,
            f"A pattern in the schema of grader '{name}' was searched for over "
            f"{PATTERN_TIMEOUT_S:g} s. Write it without nested repeats.",
        ) from None
    except referencing.exceptions.Unresolvable as error:
        raise Ungradable(
            Fault.OTHER,
            f"The schema of grader '{name}' names what it does not hold: {str(error)[:200]}. "
            "Put it under $defs.",
        ) from None


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(value, str) and not regex.search(pattern, value, timeout=PATTERN_TIMEOUT_S):
        yield jsonschema.ValidationError(f"{value[:80]!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, _schema: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    for pattern, inner in patterns.items():
        for key, each in value.items():
            if regex.search(pattern, key, timeout=PATTERN_TIMEOUT_S):
                yield from validator.descend(each, inner, path=key, schema_path=pattern)


def _said(sample: Sample) -> list[tuple[str, Any]] | None:
    """Return the calls that stand in the answer's text; None when there are none."""
    tagged = CALL_TAG.findall(sample.output_text)
    if not tagged:
        return _calls(parse_json(sample.output_text))
    found: list[tuple[str, Any]] = []
    for text in tagged:
        calls = _calls(parse_json(text))
        if calls is None:
            return None
        found.extend(calls)
    return found


def _calls(value: Any) -> list[tuple[str, Any]] | None:
    """Return the names and arguments of calls in any of the common shapes; None for anything else.

    A call is `{"name", "arguments"}`, alone, within `function`, or in a list under `tool_calls`;
    arguments may be JSON within JSON.
    """
    if isinstance(value, dict) and "tool_calls" in value:
        value = value["tool_calls"]
    entries = value if isinstance(value, list) else [value]
    found = []
    for entry in entries:
        inner = entry.get("function", entry) if isinstance(entry, dict) else None
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
            return None
        arguments = inner.get("arguments", inner.get("parameters", {}))
        if isinstance(arguments, str):
            arguments = parse_json(arguments or "{}")
        if arguments is NOT_JSON:
            return None
        found.append((inner["name"], arguments))
    return found


def _comparable(calls: Sequence[tuple[str, Any]], with_arguments: bool) -> list[str]:
    return sorted(
        f"{name} {canonical(arguments)}" if with_arguments else name for name, arguments in calls
    )


def _unfit(name: str, what: str, text: str) -> Ungradable:
    return Ungradable(
        Fault.SAMPLE_PARSE,
        f"Grader '{name}' compares with {what}, and the row gives {text[:80]!r}. Correct the row "
        "or the grader's reference.",
    )
