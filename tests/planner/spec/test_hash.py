"""The hash of a plan: fixed for all time, blind to what is no decision, moved by every decision."""

from hashlib import sha256
from pathlib import Path

import pytest
from attune.spec.v1 import spec_pb2
from google.protobuf import text_format
from google.protobuf.message import Message

from services.planner.spec.hash import DECISION_BLOCKS, canonical_bytes, spec_hash
from tests.planner.plans import a_spec

GOLDEN = Path(__file__).with_name("golden") / "spec.textproto"
GOLDEN_HASH = (GOLDEN.parent / "spec.sha256").read_text().strip()
NOT_HASHED = {
    "name": "projects/default/specs/other",
    "revision": 9,
    "hash": "f" * 64,
    "etag": "other",
    "state": 2,
    "display_name": "Another title",
    "conversation": "projects/default/conversations/other",
    "create_time": {"seconds": 5},
    "update_time": {"seconds": 6},
    "approval": {"revision": 3},
    "compute": {"available": True},
    "choices": [{"field_path": "x"}],
    "notices": [{"code": "x"}],
}


GOLDENS = ("spec", "judged", "stabilized", "paired")


def golden(name: str = "spec") -> spec_pb2.Spec:
    text = (GOLDEN.parent / f"{name}.textproto").read_text()
    return text_format.Parse(text, spec_pb2.Spec())


@pytest.mark.parametrize("name", GOLDENS)
def test_a_golden_spec_keeps_its_hash_whatever_fields_are_added(name):
    kept = (GOLDEN.parent / f"{name}.sha256").read_text().strip()
    assert spec_hash(golden(name)) == kept


@pytest.mark.parametrize("name", GOLDENS)
def test_a_golden_spec_sets_every_decision_block(name):
    assert {field.name for field, _ in golden(name).ListFields()} == set(DECISION_BLOCKS)


def held(message: Message):
    """Yield the full name of every field that is set, at any depth."""
    for field, value in message.ListFields():
        yield field.full_name
        if field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                yield from held(item)


def known(descriptor, seen):
    """Collect the full names of all fields of a message and of the messages in it."""
    for field in descriptor.fields:
        if field.full_name in seen:
            continue
        seen.add(field.full_name)
        if field.message_type is not None and field.message_type.file.package == "attune.spec.v1":
            known(field.message_type, seen)
    return seen


def test_the_golden_specs_set_every_field_that_is_hashed():
    fields = spec_pb2.Spec.DESCRIPTOR.fields_by_name
    wanted = set()
    for block in DECISION_BLOCKS:
        known(fields[block].message_type, wanted)
    assert wanted <= {name for each in GOLDENS for name in held(golden(each))}


def test_every_field_of_a_spec_is_known_to_be_hashed_or_not():
    fields = {field.name for field in spec_pb2.Spec.DESCRIPTOR.fields}
    assert fields == set(DECISION_BLOCKS) | set(NOT_HASHED)


@pytest.mark.parametrize("field", NOT_HASHED)
def test_what_is_no_decision_leaves_the_hash_alone(field):
    changed = golden()
    changed.MergeFrom(spec_pb2.Spec(**{field: NOT_HASHED[field]}))
    assert changed != golden()
    assert spec_hash(changed) == GOLDEN_HASH


def changes(message: Message, path: str):
    """Yield the path of every leaf that is set, having changed it in place."""
    for field, value in message.ListFields():
        here = f"{path}.{field.name}"
        if field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                yield from changes(item, here)
            continue
        kept = list(value) if field.is_repeated else value
        other = kept[:-1] if field.is_repeated else another(kept)
        put(message, field, other)
        yield here
        put(message, field, kept)


def another(value):
    if isinstance(value, bool):
        return not value
    return value + "x" if isinstance(value, str) else value + 1


def put(message: Message, field, value):
    if field.is_repeated:
        message.ClearField(field.name)
        getattr(message, field.name).extend(value)
    else:
        setattr(message, field.name, value)


def test_every_decision_changes_the_hash():
    spec, seen = golden(), {GOLDEN_HASH}
    count = 0
    for path in changes(spec, "spec"):
        seen.add(spec_hash(spec))
        count += 1
        assert len(seen) == count + 1, path
    assert count > 50
    assert spec_hash(spec) == GOLDEN_HASH


def test_zero_that_was_set_is_not_the_same_as_unset():
    spec = golden()
    spec.stages[0].hyperparameters.weight_decay = 0
    with_zero = spec_hash(spec)
    spec.stages[0].hyperparameters.ClearField("weight_decay")
    assert spec_hash(spec) != with_zero


def test_the_hash_is_that_of_the_canonical_bytes_which_carry_the_prefix():
    spec = a_spec()
    canonical = canonical_bytes(spec)
    assert canonical.startswith(b'attune.spec.v1{"base_model":')
    assert sha256(canonical).hexdigest() == spec_hash(spec)
    assert b'"effective_batch_size":"16"' in canonical  # 64-bit integers stand as strings.
