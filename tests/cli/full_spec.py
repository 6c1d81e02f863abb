"""A plan in which every field is set, made from the descriptors."""

from itertools import count

from attune.spec.v1 import spec_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

WHOLE = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_INT32)

SHOWN_OTHERWISE = (
    "grader",
    "rejected",
    "alternatives",
    "guidelines",
    "preparation_steps",
    "provisional",
    "safeguards",
    "previews",
)
"""Parts of paths whose values are not rows of a table."""


def full_spec() -> spec_pb2.Spec:
    """Return a plan with every field of every block set, and a choice for each leaf."""
    spec = spec_pb2.Spec()
    _fill(spec, count(101))
    del spec.choices[:]
    for index, path in enumerate(sorted(decided_leaves(spec))):
        spec.choices.add(
            field_path=path,
            source=spec_pb2.Choice.SOURCE_RECIPE,
            origin=f"origin-{index}",
            reason=f"Because of reason-{index}.",
        )
    return spec


def decided_leaves(spec: spec_pb2.Spec) -> list[str]:
    """Return the paths of all leaves of the blocks that people decide on."""
    blocks = (
        "objective",
        "base_model",
        "data",
        "stages",
        "evaluation",
        "limits",
        "serving",
        "maintenance",
    )
    found: list[str] = []
    for block in blocks:
        _collect(spec, block, block, found)
    return [path for path in found if not any(part in path for part in SHOWN_OTHERWISE)]


def _collect(message: Message, name: str, path: str, found: list[str]) -> None:
    field, value = message.DESCRIPTOR.fields_by_name[name], getattr(message, name)
    if field.message_type is None or isinstance(value, Duration | Timestamp):
        found.append(path)
        return
    entries = enumerate(value) if field.is_repeated else [(None, value)]
    for index, entry in entries:
        prefix = path if index is None else f"{path}.{index}"
        for inner, _ in entry.ListFields():
            _collect(entry, inner.name, f"{prefix}.{inner.name}", found)


def _fill(message: Message, numbers: count, depth: int = 8) -> None:
    if isinstance(message, Duration | Timestamp):
        message.seconds = next(numbers)
        return
    chosen_oneofs = set()
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1:
            if oneof.name in chosen_oneofs:
                continue
            chosen_oneofs.add(oneof.name)
        if field.message_type is None:
            value = _scalar(field, numbers)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif depth:
            target = getattr(message, field.name)
            _fill(target.add() if field.is_repeated else target, numbers, depth - 1)


def _scalar(field: FieldDescriptor, numbers: count) -> object:
    if field.enum_type is not None:
        return field.enum_type.values[1].number
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    if field.cpp_type in WHOLE:
        return next(numbers)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return next(numbers) + 0.25
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"bytes"
    return f"{field.name}-{next(numbers)}"
