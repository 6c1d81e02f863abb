"""Sets one field of a plan, named by its path, from text."""

from __future__ import annotations

from typing import Any

from attune.spec.v1 import spec_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from services.common.errors import InvalidArgument, Violation, invalid

WHOLE = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_INT32)
REAL = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
YES_NO = {"yes": True, "true": True, "no": False, "false": False}


def set_field(spec: spec_pb2.Spec, path: str, text: str) -> None:
    """Set a field in place.

    Args:
        spec: The plan as read.
        path: Such as `stages.0.hyperparameters.learning_rate`.
        text: The value: a number, yes or no, an enum's value in words, seconds for a duration, or
            a list separated by commas.

    Raises:
        InvalidArgument: If there is no such field, or the text is no value of it.
    """
    *parents, last = path.split(".")
    message = _descend(spec, parents, path)
    field = message.DESCRIPTOR.fields_by_name.get(last)
    if field is None:
        raise _no_field(path, message)
    if field.is_repeated:
        values = [_value(field, part.strip(), path) for part in text.split(",") if part.strip()]
        message.ClearField(last)
        getattr(message, last).extend(values)
    elif field.message_type is not None:
        getattr(message, last).CopyFrom(_value(field, text, path))
    else:
        setattr(message, last, _value(field, text, path))


def _descend(spec: spec_pb2.Spec, parents: list[str], path: str) -> Message:
    here: Any = spec
    for part in parents:
        if part.isdecimal() and not isinstance(here, Message):
            if int(part) >= len(here):
                raise _refused(path, "NO_ENTRY", f"There are only {len(here)} entries before it.")
            here = here[int(part)]
        elif isinstance(here, Message) and part in here.DESCRIPTOR.fields_by_name:
            here = getattr(here, part)
        else:
            raise _no_field(path, here)
    if not isinstance(here, Message):
        raise _no_field(path, here)
    return here


def _value(field: Any, text: str, path: str) -> Any:
    kind = field.message_type
    try:
        if kind is not None and kind.full_name == Duration.DESCRIPTOR.full_name:
            return Duration(seconds=round(float(text.removesuffix("s"))))
        if kind is not None:
            raise _refused(path, "NO_VALUE", "This is a block. Name one of its fields.")
        if field.enum_type is not None:
            return _enum_number(field, text)
        if field.cpp_type in WHOLE:
            return int(text.replace(",", "").replace("_", ""))
        if field.cpp_type in REAL:
            return float(text)
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return YES_NO[text.lower()]
    except (ValueError, KeyError):
        wanted = _wanted(field)
        raise _refused(path, "BAD_VALUE", f"'{text[:80]}' is no value. Give {wanted}.") from None
    return text


def _enum_number(field: Any, text: str) -> int:
    ending = text.upper().replace(" ", "_").replace("-", "_")
    for value in field.enum_type.values[1:]:
        if value.name == ending or value.name.split("_", 1)[1] == ending:
            return int(value.number)
    raise KeyError(text)


def _wanted(field: Any) -> str:
    if field.enum_type is not None:
        names = [value.name.split("_", 1)[1].lower() for value in field.enum_type.values[1:]]
        return "one of " + ", ".join(names)
    if field.message_type is not None:
        return "a number of seconds"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return "yes or no"
    return "a whole number" if field.cpp_type in WHOLE else "a number"


def _no_field(path: str, here: Any) -> InvalidArgument:
    fields = ", ".join(here.DESCRIPTOR.fields_by_name) if isinstance(here, Message) else "a number"
    return _refused(path, "UNKNOWN_PATH", f"There is no such field. Here could stand: {fields}.")


def _refused(path: str, rule: str, text: str) -> InvalidArgument:
    return invalid([Violation(path, rule, text)])
