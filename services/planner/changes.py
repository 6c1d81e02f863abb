"""What differs between two plans, as clients are told."""

from __future__ import annotations

from collections.abc import Sequence

from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from services.planner.spec.edit import Change, diff

CHANGES_MAX = 200
FOLLOWS = {
    "data.dataset_sha256": "data.dataset",
    "data.holdout_sha256": "data.holdout_dataset",
    "data.format": "data.dataset",
    "data.train_row_count": "data.dataset",
    "data.holdout_row_count": "data.dataset",
    "base_model.licence": "base_model.id",
    "base_model.context_length": "base_model.id",
    "base_model.parameter_count": "base_model.id",
    "base_model.languages": "base_model.id",
    "base_model.alternatives": "base_model.id",
}
"""Facts and the field that they belong to."""


def field_changes(before: spec_pb2.Spec, after: spec_pb2.Spec) -> list[planner_pb2.FieldChange]:
    """Return every decision that differs, with the reason of its new value."""
    return to_proto(diff(before, after))


def to_proto(changes: Sequence[Change]) -> list[planner_pb2.FieldChange]:
    """Return changes as messages, each with a reason, at most 200."""
    return [
        planner_pb2.FieldChange(
            field_path=change.field_path,
            before=change.before,
            after=change.after,
            reason=change.reason or _consequence(change.field_path),
        )
        for change in changes[:CHANGES_MAX]
    ]


def _consequence(path: str) -> str:
    """Return what a field follows that has no choice of its own."""
    for fact, field in FOLLOWS.items():
        if path.startswith(fact):
            return f"It follows from {field}."
    return "It follows from another change."
