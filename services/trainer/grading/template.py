"""Templates such as `{{item.reference}}`: compiled once, filled from each sample; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.common.errors import InvalidArgument
from services.trainer.grading.sample import Fault, Sample, Ungradable, WrongAnswer

VARIABLE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
ITEM_PATH = re.compile(r"item(\.[^.\s{}]+)+")
OUTPUT_PATH = re.compile(r"sample\.(output_text|output_tools|output_json(\.[^.\s{}]+)*)")
NOT_JSON = object()
"""Stands for text that is no JSON."""

Fill = Callable[[Sample], str]
"""Fills a template from a sample; raises Ungradable or WrongAnswer."""


@dataclass(frozen=True)
class Template:
    """A compiled template: its own text around what its variables read."""

    fixed: Sequence[str]
    """Before, between and after the variables."""
    readers: Sequence[Fill]
    """One per variable, in order."""

    def values(self, sample: Sample) -> list[str]:
        """Return what each variable reads.

        Raises:
            Ungradable: If the row lacks one.
            WrongAnswer: If the answer lacks one.
        """
        return [read(sample) for read in self.readers]

    def join(self, values: Sequence[str]) -> str:
        """Return the text with the values in their places."""
        pairs = zip(values, self.fixed[1:], strict=True)
        return self.fixed[0] + "".join(value + after for value, after in pairs)


def parse_template(name: str, text: str) -> Template:
    """Return a compiled template.

    Args:
        name: Of the grader, for errors.
        text: May name `{{item.<field>}}`, fields of fields and list positions too, and
            `{{sample.output_text}}`, `{{sample.output_tools}}` and `{{sample.output_json}}`.

    Raises:
        InvalidArgument: If it names anything else.
    """
    parts = VARIABLE.split(text)
    return Template(parts[0::2], [_reader(name, variable) for variable in parts[1::2]])


def compile_template(name: str, text: str) -> Fill:
    """Return the function that fills a template.

    Raises:
        InvalidArgument: As `parse_template` does.
    """
    template = parse_template(name, text)
    if list(template.fixed) == ["", ""]:
        return template.readers[0]
    return lambda sample: template.join(template.values(sample))


def parse_json(text: str) -> Any:
    """Return what a text is as JSON, `NOT_JSON` if it is none; 1.0 reads as 1."""
    try:
        return json.loads(text, parse_float=_number, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return NOT_JSON


def canonical(value: Any) -> str:
    """Return text that is equal for values that are equal as JSON: 1 and true differ."""
    return json.dumps(value, sort_keys=True)


def as_text(value: Any) -> str:
    """Return a value as templates show it: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _reader(name: str, variable: str) -> Fill:
    if variable == "sample.output_text":
        return lambda sample: sample.output_text
    if variable == "sample.output_tools":
        return lambda sample: as_text(list(sample.output_tools))
    if ITEM_PATH.fullmatch(variable):
        steps = tuple(variable.split(".")[1:])
        if len(steps) == 1:
            return _field_reader(name, steps[0])
        return lambda sample: as_text(_walk(name, variable, sample.item, steps))
    if OUTPUT_PATH.fullmatch(variable):
        path = tuple(variable.split(".")[2:])
        return lambda sample: as_text(_answer_value(sample, path))
    raise InvalidArgument(
        f"Grader '{name}' names '{{{{{variable}}}}}'. Use {{{{sample.output_text}}}}, "
        "{{sample.output_tools}}, {{sample.output_json}} or a field of the row such as "
        "{{item.reference}}.",
        reason="UNSUPPORTED_GRADER",
        grader=name,
        variable=variable,
    )


def _field_reader(name: str, field: str) -> Fill:
    def read(sample: Sample) -> str:
        value = sample.item.get(field, NOT_JSON)
        if value is NOT_JSON:
            raise _missing(name, f"item.{field}", sample.item)
        return as_text(value)

    return read


def _walk(name: str, variable: str, item: Mapping[str, Any], steps: Sequence[str]) -> Any:
    value: Any = item
    for step in steps:
        value = _step(value, step)
        if value is NOT_JSON:
            raise _missing(name, variable, item)
    return value


def _answer_value(sample: Sample, steps: Sequence[str]) -> Any:
    value = parse_json(sample.output_text)
    for step in steps:
        value = _step(value, step)
    if value is NOT_JSON:
        raise WrongAnswer
    return value


def _step(value: Any, step: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(step, NOT_JSON)
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    if is_list and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return NOT_JSON


def _missing(name: str, variable: str, item: Mapping[str, Any]) -> Ungradable:
    there = ", ".join(sorted(map(str, item))[:10]) or "none"
    return Ungradable(
        Fault.INVALID_VARIABLE,
        f"Grader '{name}' names '{{{{{variable}}}}}', which the row lacks; its fields are: "
        f"{there[:300]}. Add the field to the row or correct the template.",
    )


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number  # JSON has one kind: 1.0 is 1.


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
