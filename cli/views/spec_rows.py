"""Every field of a plan as a row: its value, who chose it, and why.

The rows follow the proto's descriptors, so that a field added to the plan shows up by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from attune.spec.v1 import spec_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cli.views.figures import moment, number, seconds_of, span, words


@dataclass(frozen=True)
class Row:
    """One decided field."""

    label: str
    """Its path within the block, such as `lora.rank`."""
    value: str
    source: str = ""
    """Who chose it, and from what; empty when nobody says."""
    reason: str = ""

    def cells(self) -> tuple[str, str, str, str]:
        """Return the row for a table."""
        return self.label, self.value, self.source, self.reason


def choices_by_path(spec: spec_pb2.Spec) -> dict[str, spec_pb2.Choice]:
    """Return the plan's choices by the path of their field."""
    return {choice.field_path: choice for choice in spec.choices}


def rows_of(
    message: Message,
    path: str,
    choices: Mapping[str, spec_pb2.Choice],
    skip: frozenset[str] = frozenset(),
) -> list[Row]:
    """Return a row for every set field of a block, those of nested messages included.

    Args:
        message: The block.
        path: From the plan to the block, such as `stages.0`.
        choices: The plan's choices by path.
        skip: Names of fields of the block itself that are shown in another way.
    """
    return list(_walk(message, path, "", choices, skip))


def _walk(
    message: Message,
    path: str,
    label: str,
    choices: Mapping[str, spec_pb2.Choice],
    skip: frozenset[str],
) -> Iterator[Row]:
    for field, value in message.ListFields():
        if field.name in skip:
            continue
        field_path, field_label = f"{path}.{field.name}".lstrip("."), f"{label}{field.name}"
        if not _is_block(field):
            yield _decided(field_label, field, value, choices.get(field_path))
        elif field.is_repeated:
            for index, item in enumerate(value):
                if (choice := choices.get(f"{field_path}.{index}")) is not None:
                    yield _explained(f"{field_label}.{index}", "", choice)
                inner = f"{field_label}.{index}."
                yield from _walk(item, f"{field_path}.{index}", inner, choices, frozenset())
        else:
            if (choice := choices.get(field_path)) is not None:
                yield _explained(field_label, "", choice)
            yield from _walk(value, field_path, f"{field_label}.", choices, frozenset())


def text_of(field: FieldDescriptor, value: Any) -> str:
    """Return a field's value as a person reads it."""
    if field.is_repeated:
        return ", ".join(_text(field, item) for item in value)
    return _text(field, value)


def source_of(choice: spec_pb2.Choice) -> str:
    """Return who chose a value, and from what."""
    source = words(spec_pb2.Choice.Source.Name(choice.source), "SOURCE_")
    return f"{source}: {choice.origin}" if choice.origin else source


def _is_block(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.full_name not in (
        Duration.DESCRIPTOR.full_name,
        Timestamp.DESCRIPTOR.full_name,
    )


def _decided(label: str, field: Any, value: Any, choice: spec_pb2.Choice | None) -> Row:
    """Return the row of a leaf, which also says when the value is not the recommended one."""
    row = _explained(label, text_of(field, value), choice)
    if choice is None or not choice.recommended or _means(field, value, choice.recommended):
        return row
    return replace(row, reason=f"{row.reason} Recommended: {choice.recommended}.".strip())


def _explained(label: str, value: str, choice: spec_pb2.Choice | None) -> Row:
    if choice is None:
        return Row(label, value)
    return Row(label, value, source_of(choice), choice.reason)


def _means(field: Any, value: Any, recommended: str) -> bool:
    """Return whether a recommendation, whatever its way of writing, is this very value."""
    if isinstance(value, Duration):
        return recommended in (f"{value.seconds}s", str(value.seconds), value.ToJsonString())
    if isinstance(value, bool):
        return recommended.lower() in (("true", "yes") if value else ("false", "no"))
    if not field.is_repeated and field.enum_type is None and isinstance(value, int | float):
        try:
            return float(recommended.replace(",", "")) == float(value)
        except ValueError:
            return False
    if field.enum_type is not None:
        return recommended.lower().replace("_", " ").endswith(text_of(field, value))
    return recommended == text_of(field, value)


def _text(field: FieldDescriptor, value: Any) -> str:
    if isinstance(value, Duration):
        return span(seconds_of(value))
    if isinstance(value, Timestamp):
        return moment(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return words(known.name, _prefix(field)) if known else str(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    return str(value)


def _prefix(field: Any) -> str:
    """Return what every value of an enum begins with, from the name of its zero."""
    return str(field.enum_type.values_by_number[0].name).removesuffix("UNSPECIFIED")
