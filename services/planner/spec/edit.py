"""Edits by field path, and the difference of two specs, field by field."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from attune.spec.v1 import spec_pb2
from google.protobuf.descriptor import Descriptor

from services.common.errors import InvalidArgument, Violation, invalid
from services.planner.plan.choice import USER, set_range
from services.planner.spec.hash import DECISION_BLOCKS
from services.planner.spec.path import (
    Place,
    as_text,
    flatten,
    is_output_only,
    resolve,
    text_at,
    write,
)

PATHS_MAX = 50
DEPTH_MAX = 8


@dataclass(frozen=True)
class Change:
    """One field that differs between two specs."""

    field_path: str
    """Path from the spec."""
    before: str
    """Its value as text; empty when unset."""
    after: str
    """Its new value as text; empty when unset."""

    def __str__(self) -> str:
        return f"{self.field_path}: {self.before or 'unset'} \u2192 {self.after or 'unset'}"


def apply_edit(
    current: spec_pb2.Spec, edited: spec_pb2.Spec, paths: Sequence[str]
) -> spec_pb2.Spec:
    """Return the current spec with the named fields as they stand in the edited one.

    Args:
        current: The newest revision.
        edited: Holds the new values; other fields are not looked at.
        paths: 1 to 50 paths.

    Raises:
        InvalidArgument: With every path that is unknown or that only the service may set.
    """
    if len(paths) > PATHS_MAX:
        text = f"{len(paths)} paths; at most {PATHS_MAX} are taken. Edit in several steps."
        raise invalid([Violation("update_mask", "COUNT", text)])
    changed = spec_pb2.Spec()
    changed.CopyFrom(current)
    broken: list[Violation] = []
    for path in paths:
        try:
            _edit(changed, edited, path)
        except InvalidArgument as error:
            broken.extend(error.violations)
    if broken:
        raise invalid(broken)
    return changed


def carry_over(
    previous: spec_pb2.Spec, proposed: spec_pb2.Spec, decided_now: Collection[str]
) -> None:
    """Keep in a new proposal what a person set in the spec before.

    Args:
        previous: The newest revision.
        proposed: Made anew from the brief; changed in place.
        decided_now: Paths that the present message decides, which are not carried over.
    """
    for choice in previous.choices:
        path = choice.field_path
        if choice.source != USER or path in decided_now or path.startswith("data."):
            continue
        try:
            place = resolve(proposed, path)
        except InvalidArgument:
            continue  # The new plan has no such field, such as `lora` without adapters.
        before = resolve(previous, path)
        write(proposed, path, before.value if before.is_set else None)
        if place.field.has_presence or place.is_set or before.is_set:
            mark(proposed, path, choice.origin)


def mark(spec: spec_pb2.Spec, path: str, origin: str) -> None:
    """Note that a person decided the field at a path."""
    for choice in spec.choices:
        if choice.field_path == path:
            break
    else:
        choice = spec.choices.add(
            field_path=path,
            reason="You decided it.",
            tier=spec_pb2.Choice.TIER_ADVANCED,
        )
        set_range(choice, spec)
    choice.source, choice.origin = USER, origin


def diff(before: spec_pb2.Spec, after: spec_pb2.Spec) -> list[Change]:
    """Return every decision that differs, in order of the paths."""
    old, new = _decisions(before), _decisions(after)
    return [
        Change(path, as_text(old.get(path, "")), as_text(new.get(path, "")))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def _edit(changed: spec_pb2.Spec, edited: spec_pb2.Spec, path: str) -> None:
    place = resolve(changed, path)
    if place.output_only:
        text = "Only the service sets this field. Leave it out of update_mask."
        raise invalid([Violation(path, "OUTPUT_ONLY", text)])
    inside = _output_only_inside(place)
    if inside:
        text = f"It holds '{inside}', which only the service sets. Name the fields inside it."
        raise invalid([Violation(path, "OUTPUT_ONLY", text)])
    given = resolve(edited, path)
    before = text_at(changed, path)
    write(changed, path, given.value if given.is_set else None)
    if text_at(changed, path) != before or path not in {c.field_path for c in changed.choices}:
        mark(changed, path, "Set by you in the spec")


def _output_only_inside(place: Place) -> str:
    return _find_output_only(place.field.message_type, DEPTH_MAX)


def _find_output_only(descriptor: Descriptor | None, depth: int) -> str:
    if descriptor is None or depth == 0:
        return ""
    for field in descriptor.fields:
        if is_output_only(field):
            return field.name
        if found := _find_output_only(field.message_type, depth - 1):
            return found
    return ""


def _decisions(spec: spec_pb2.Spec) -> dict[str, object]:
    leaves = flatten(spec)
    return {path: leaf for path, leaf in leaves.items() if path.split(".")[0] in DECISION_BLOCKS}
