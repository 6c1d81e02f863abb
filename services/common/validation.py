"""Enforces `google.api.field_behavior` on requests, from their descriptors."""

from __future__ import annotations

from functools import cache

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from services.common.errors import Violation, invalid

VIOLATIONS_MAX = 100
DEPTH_MAX = 32


def check(request: Message) -> None:
    """Refuse a request that lacks a required field or sets one that only the service may set.

    REQUIRED holds at every depth, but not inside the resource of an update, where the mask says
    what counts. OUTPUT_ONLY is refused at the top and inside the resource of a Create request;
    elsewhere a resource that was read may be sent back whole.

    Raises:
        InvalidArgument: With every violation, at most 100.
    """
    found: list[Violation] = []
    name = request.DESCRIPTOR.name
    partial = "update_mask" in request.DESCRIPTOR.fields_by_name
    _check(request, "", partial, name.startswith("Create"), found, DEPTH_MAX)
    if found:
        raise invalid(found[:VIOLATIONS_MAX])


def _check(
    message: Message, path: str, partial: bool, created: bool, found: list[Violation], depth: int
) -> None:
    if depth == 0 or len(found) >= VIOLATIONS_MAX:
        return
    required, output_only, nested = _fields(message.DESCRIPTOR)
    for field in required:
        if not _is_set(message, field):
            text = "This field is required and was left out. Set it."
            found.append(Violation(path + field.name, "REQUIRED", text))
    if created or not path:
        for field in output_only:
            if _is_set(message, field):
                text = "Only the service sets this field. Leave it out."
                found.append(Violation(path + field.name, "OUTPUT_ONLY", text))
    if partial:
        return
    for field in nested:
        value = getattr(message, field.name)
        if field.is_repeated:
            for index, item in enumerate(value):
                _check(item, f"{path}{field.name}.{index}.", False, created, found, depth - 1)
        elif message.HasField(field.name):
            _check(value, f"{path}{field.name}.", False, created, found, depth - 1)


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    if field.is_repeated:
        return len(getattr(message, field.name)) > 0
    if field.has_presence:
        return message.HasField(field.name)
    return bool(getattr(message, field.name) != field.default_value)


@cache
def _fields(
    descriptor: Descriptor,
) -> tuple[list[FieldDescriptor], list[FieldDescriptor], list[FieldDescriptor]]:
    """Return a message's required fields, its output-only fields and its message fields."""
    required, output_only, nested = [], [], []
    for field in descriptor.fields:
        behaviours = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.REQUIRED in behaviours:
            required.append(field)
        if field_behavior_pb2.OUTPUT_ONLY in behaviours:
            output_only.append(field)
        kind = field.message_type
        if kind is not None and not kind.GetOptions().map_entry and _is_ours(kind):
            nested.append(field)
    return required, output_only, nested


def _is_ours(descriptor: Descriptor) -> bool:
    return descriptor.full_name.startswith("attune.")
