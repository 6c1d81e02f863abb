"""Why a field differs between two plans, from the choices of the later one."""

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
    return with_reasons(diff(before, after), after)


def with_reasons(changes: Sequence[Change], after: spec_pb2.Spec) -> list[planner_pb2.FieldChange]:
    """Return changes with the reasons that the later plan gives, at most 200."""
    reasons = {choice.field_path: choice for choice in after.choices}
    return [
        planner_pb2.FieldChange(
            field_path=change.field_path,
            before=change.before,
            after=change.after,
            reason=_reason(change.field_path, reasons, after),
        )
        for change in changes[:CHANGES_MAX]
    ]


def _reason(path: str, choices: dict[str, spec_pb2.Choice], after: spec_pb2.Spec) -> str:
    if path.startswith("verdict."):
        return after.verdict.reason
    parts = path.split(".")
    for end in range(len(parts), 1, -1):
        choice = choices.get(".".join(parts[:end]))
        if choice is None:
            continue
        if choice.source == spec_pb2.Choice.SOURCE_USER:
            return choice.origin or "You decided it."
        return choice.reason
    for fact, field in FOLLOWS.items():
        if path.startswith(fact):
            return f"It follows from {field}."
    return "It follows from another change."
