"""Field paths such as `stages.0.hyperparameters.learning_rate`: resolved, read and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from services.common.errors import Violation, invalid

PARTS_MAX = 16
TEXT_CHARACTERS_MAX = 200
PATH_CHARACTERS_MAX = 80


@dataclass(frozen=True)
class Place:
    """Where a path ends."""

    parent: Message
    """The message that holds the last field."""
    field: FieldDescriptor
    """The last field."""
    index: int | None
    """Position inside a repeated field; None for the field itself."""
    output_only: bool
    """Whether only the service sets a field on the way."""

    @property
    def is_set(self) -> bool:
        """Whether something stands there."""
        if self.index is not None or self.field.is_repeated:
            return len(getattr(self.parent, self.field.name)) > (self.index or 0)
        if self.field.has_presence:
            return self.parent.HasField(self.field.name)
        return bool(getattr(self.parent, self.field.name) != self.field.default_value)

    @property
    def value(self) -> Any:
        """What stands there; the default when nothing does."""
        value = getattr(self.parent, self.field.name)
        return value if self.index is None else value[self.index]


def resolve(message: Message, path: str) -> Place:
    """Return where a path ends in a message.

    Args:
        message: Such as a Spec.
        path: Fields joined by dots; entries of a repeated field by position.

    Raises:
        InvalidArgument: If the message has no such field or the position does not exist.
    """
    parts = path.split(".")
    if len(parts) > PARTS_MAX:
        raise _unknown(path, path)
    place: Place | None = None
    position = 0
    while position < len(parts):
        if place is not None:
            message = _step_into(place, path, parts[position])
        field: Any = message.DESCRIPTOR.fields_by_name.get(parts[position])
        if field is None:
            raise _unknown(path, parts[position])
        position += 1
        index = None
        if field.is_repeated and position < len(parts):
            index = _index(getattr(message, field.name), path, parts[position])
            position += 1
        before = place is not None and place.output_only
        place = Place(message, field, index, before or is_output_only(field))
    assert place is not None  # A split is never empty.
    return place


def write(message: Message, path: str, value: Any) -> None:
    """Put a value where the path ends; None clears it.

    Args:
        message: Such as a Spec.
        path: Must resolve.
        value: Of the field's type; a message or a sequence is copied.
    """
    place = resolve(message, path)
    name = place.field.name
    if place.index is not None:
        held = getattr(place.parent, name)
        if place.field.message_type is not None:
            held[place.index].CopyFrom(value)
        else:
            held[place.index] = value
        return
    place.parent.ClearField(name)
    if value is None:
        return
    if place.field.is_repeated:
        getattr(place.parent, name).extend(value)
    elif place.field.message_type is not None:
        getattr(place.parent, name).CopyFrom(value)
    else:
        setattr(place.parent, name, value)


def text_at(message: Message, path: str) -> str:
    """Return what stands at a path as short text; empty when nothing does.

    Raises:
        InvalidArgument: If the path does not resolve.
    """
    place = resolve(message, path)
    if not place.is_set:
        return ""
    holder = MessageToDict(place.parent, preserving_proto_field_name=True)
    value = holder[place.field.name]
    found: dict[str, Any] = {}
    _flatten(value if place.index is None else value[place.index], "", found)
    return ", ".join(as_text(leaf) for leaf in found.values())[:TEXT_CHARACTERS_MAX]


def flatten(message: Message) -> dict[str, Any]:
    """Return every set leaf of a message by its path; lists of plain values are one leaf."""
    found: dict[str, Any] = {}
    _flatten(MessageToDict(message, preserving_proto_field_name=True), "", found)
    return found


def as_text(value: Any) -> str:
    """Return a leaf as people write it: `0.0003`, `true`, `a, b`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list):
        return ", ".join(as_text(item) for item in value)[:TEXT_CHARACTERS_MAX]
    return str(value)[:TEXT_CHARACTERS_MAX]


def is_output_only(field: Any) -> bool:
    """Return whether only the service sets this field."""
    return field_behavior_pb2.OUTPUT_ONLY in _behaviours(field)


def is_required(field: Any) -> bool:
    """Return whether a message of this kind must have the field."""
    return field_behavior_pb2.REQUIRED in _behaviours(field)


def _behaviours(field: Any) -> Sequence[int]:
    found: Sequence[int] = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return found


def _flatten(value: Any, path: str, found: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _flatten(item, f"{path}.{key}" if path else key, found)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for index, item in enumerate(value):
            _flatten(item, f"{path}.{index}", found)
    else:
        found[path] = value


def _step_into(place: Place, path: str, part: str) -> Message:
    """Return the message at a place that another part follows."""
    if place.field.message_type is None:
        raise _unknown(path, part)
    message: Message = place.value
    return message


def _index(held: Any, path: str, part: str) -> int:
    if not (part.isascii() and part.isdigit() and len(part) < 5 and int(part) < len(held)):
        text = f"'{part[:40]}' is not one of its {len(held)} positions, which count from 0."
        raise invalid([Violation(path, "POSITION", text)])
    return int(part)


def _unknown(path: str, part: str) -> Exception:
    text = f"There is no field '{part[:40]}' there. Take a path from `choices` of the spec."
    return invalid([Violation(path[:PATH_CHARACTERS_MAX], "UNKNOWN_PATH", text)])
