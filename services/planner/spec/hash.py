"""The canonical form of a spec, and its hash.

The form is the RFC 8785 JSON of the proto JSON of the decision blocks, with proto field names and
without what is unset. It is proto JSON unchanged on purpose: 64-bit integers stand as strings
(they would lose digits as JSON numbers), enum values by name, durations as `7200s`. So every
language with a proto JSON library makes the same bytes. The hash is SHA-256 over `attune.spec.v1`
and those bytes, so that nothing else that is hashed here can be taken for a spec.

Approval keeps prefix and JSON together as they were hashed. Nobody computes them again from a
parsed message: a newer reader may know fields that the approver could not have seen.
"""

from __future__ import annotations

from hashlib import sha256

import rfc8785
from attune.spec.v1 import spec_pb2
from google.protobuf.json_format import MessageToDict

PREFIX = b"attune.spec.v1"
DECISION_BLOCKS = (
    "objective",
    "verdict",
    "base_model",
    "data",
    "stages",
    "evaluation",
    "limits",
    "serving",
    "maintenance",
)


def canonical_bytes(spec: spec_pb2.Spec) -> bytes:
    """Return the bytes that are hashed.

    Args:
        spec: Every number must be finite, which `rules.violations` sees to.
    """
    decisions = spec_pb2.Spec()
    for name in DECISION_BLOCKS:
        if name == "stages":
            decisions.stages.extend(spec.stages)
        elif spec.HasField(name):  # type: ignore[arg-type]  # One of the literals.
            getattr(decisions, name).CopyFrom(getattr(spec, name))
    body = MessageToDict(decisions, preserving_proto_field_name=True)
    return PREFIX + rfc8785.dumps(body)


def spec_hash(spec: spec_pb2.Spec) -> str:
    """Return the hash of the decision blocks, 64 lower-case hex digits."""
    return sha256(canonical_bytes(spec)).hexdigest()
