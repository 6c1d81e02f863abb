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


def golden() -> spec_pb2.Spec:
    return text_format.Parse(GOLDEN.read_text(), spec_pb2.Spec())


def test_the_golden_spec_keeps_its_hash_whatever_fields_are_added():
    assert spec_hash(golden()) == GOLDEN_HASH


def test_the_golden_spec_sets_every_decision_block():
    assert {field.name for field, _ in golden().ListFields()} == set(DECISION_BLOCKS)


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
