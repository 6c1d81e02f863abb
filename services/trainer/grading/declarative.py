"""Graders that compare texts by a rule: one sample in, one score in [0, 1] out; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]
from attune.spec.v1.grader_pb2 import JsonSchemaGrader, StringCheckGrader

from services.common.errors import InvalidArgument
from services.trainer.grading.sample import Sample

OUTPUT, REFERENCE = "sample.output_text", "item.reference"
"""What templates may name: the model's answer, and the row's last assistant message."""
TEMPLATE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")

Score = Callable[[Sample], float]
"""Takes a sample, returns the score in [0, 1]."""


def string_check(name: str, settings: StringCheckGrader) -> Score:
    """Return the function that compares two texts.

    Raises:
        InvalidArgument: If a template or the operation is wrong.
    """
    read = _filler(name, settings.input)
    expect = _filler(name, settings.reference)
    compare = _COMPARISONS.get(settings.operation)
    if compare is None:
        raise InvalidArgument(
            f"Grader '{name}' names no operation. Use EQ, NE, LIKE or ILIKE.",
            reason="UNSUPPORTED_GRADER",
            grader=name,
        )
    return lambda sample: float(compare(read(sample), expect(sample)))


def json_schema(name: str, settings: JsonSchemaGrader) -> Score:
    """Return the function that checks JSON, its schema and its fields.

    Raises:
        InvalidArgument: If the template or the schema is wrong.
    """
    validator = _validator(name, settings.json_schema) if settings.json_schema else None
    expect = _filler(name, settings.reference) if settings.reference else None

    def score(sample: Sample) -> float:
        found = _json(sample.output_text)
        if found is _NOT_JSON:
            return 0.0
        if validator is not None and not validator.is_valid(found):
            return 0.0
        if expect is None:
            return 1.0
        expected = _json(expect(sample))
        return float(expected is not _NOT_JSON and _canonical(found) == _canonical(expected))

    return score


def _filler(name: str, template: str) -> Callable[[Sample], str]:
    """Return the function that fills a template from a sample."""
    for variable in TEMPLATE.findall(template):
        if variable not in (OUTPUT, REFERENCE):
            raise InvalidArgument(
                f"Grader '{name}' names '{{{{{variable}}}}}', which rows do not have. "
                f"Use {{{{{OUTPUT}}}}} or {{{{{REFERENCE}}}}}.",
                reason="UNSUPPORTED_GRADER",
                grader=name,
                variable=variable,
            )
    return lambda sample: TEMPLATE.sub(
        lambda match: sample.output_text if match[1] == OUTPUT else sample.item["reference"],
        template,
    )


def _validator(name: str, text: str) -> Any:
    try:
        schema = json.loads(text)
        kind = jsonschema.validators.validator_for(schema)
        kind.check_schema(schema)
    except (ValueError, jsonschema.SchemaError) as error:
        raise InvalidArgument(
            f"Grader '{name}' holds no JSON Schema: {str(error).splitlines()[0]}. Correct it.",
            reason="UNSUPPORTED_GRADER",
            grader=name,
        ) from None
    return kind(schema)


_NOT_JSON = object()


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_float=_number, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number  # JSON has one kind: 1.0 is 1.


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _canonical(value: Any) -> str:
    """Return text that is equal for values that are equal as JSON: 1 and true differ."""
    return json.dumps(value, sort_keys=True)


_COMPARISONS: Mapping[int, Callable[[str, str], bool]] = {
    StringCheckGrader.OPERATION_EQ: lambda found, expected: found == expected,
    StringCheckGrader.OPERATION_NE: lambda found, expected: found != expected,
    StringCheckGrader.OPERATION_LIKE: lambda found, expected: expected in found,
    StringCheckGrader.OPERATION_ILIKE: lambda found, expected: (
        expected.casefold() in found.casefold()
    ),
}
