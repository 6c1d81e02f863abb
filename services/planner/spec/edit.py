"""Edits by field path, and the difference of two specs, field by field."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from attune.spec.v1 import spec_pb2, stage_pb2
from google.protobuf.descriptor import Descriptor

from services.common.errors import InvalidArgument, Violation, invalid
from services.planner.plan.choice import RULE, USER, set_range
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
EDITED = "Set by you in the spec"
"""Origin of a value that came by an edit and not by a message."""
ADAPTERS = (stage_pb2.METHOD_LORA, stage_pb2.METHOD_QLORA, stage_pb2.METHOD_DORA)
FOLLOWING = {"lora.rank": "lora.alpha", "effective_batch_size": "learning_rate"}
"""Hyperparameters and what a recipe derives from them."""


@dataclass(frozen=True)
class Change:
    """One field that differs between two specs."""

    field_path: str
    """Path from the spec."""
    before: str
    """Its value as text; empty when unset."""
    after: str
    """Its new value as text; empty when unset."""
    reason: str = ""
    """Why it has its new value, one sentence, from the later spec's choices; empty when nothing
    there says so."""

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
    if not paths:
        text = "It names no field. Name those that change, such as `serving.alias`."
        raise invalid([Violation("update_mask", "REQUIRED", text)])
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
    """Keep in a new proposal what a person set in the spec before, and what hangs on it.

    A value that is derived from another one stays as it was when a person names only the other
    one: who says rank 64 has not said anything about alpha.

    Args:
        previous: The newest revision.
        proposed: Made anew from the brief; changed in place.
        decided_now: Paths that the present message decides, which are not carried over.
    """
    for choice in previous.choices:
        path = choice.field_path
        if choice.source != USER or path in decided_now or path.startswith("data."):
            continue
        place = _place_in(proposed, path)
        if place is None:
            continue
        before = resolve(previous, path)
        if _follows_decision(path, choice, before, place):
            continue
        write(proposed, path, before.value if before.is_set else None)
        if place.field.has_presence or place.is_set or before.is_set:
            mark(proposed, path, choice.origin)
    _hold_derived(previous, proposed, decided_now)


def _place_in(proposed: spec_pb2.Spec, path: str) -> Place | None:
    """Return where a path ends, or None when the new plan has no such field.

    A message that is not set has none of its fields: no rank without adapters, no judge's model in
    a grader that asks no judge.
    """
    holder = path.rpartition(".")[0]
    try:
        held = not holder or resolve(proposed, holder).is_set
        return resolve(proposed, path) if held else None
    except InvalidArgument:
        return None


def _follows_decision(path: str, choice: spec_pb2.Choice, before: Place, now: Place) -> bool:
    """Return whether a field is the decision's: how a stage teaches, and by which weights.

    An edit that swapped one kind of adapter for another is kept, for their settings are alike.
    """
    if path.endswith(".technique"):
        return True
    if not path.endswith(".method"):
        return False
    swapped = before.value in ADAPTERS and now.value in ADAPTERS
    return not (swapped and choice.origin == EDITED)


def _hold_derived(
    previous: spec_pb2.Spec, proposed: spec_pb2.Spec, decided_now: Collection[str]
) -> None:
    if previous.base_model.id != proposed.base_model.id:
        return
    theirs = {each.field_path for each in proposed.choices if each.source == USER}
    for index, (old, new) in enumerate(zip(previous.stages, proposed.stages, strict=False)):
        if (old.technique, old.method) != (new.technique, new.method):
            continue
        for cause, derived in FOLLOWING.items():
            inside = f"stages.{index}.hyperparameters."
            path = inside + derived
            if inside + cause not in theirs or path in theirs or path in decided_now:
                continue
            if resolve(previous, path).is_set:
                _hold(previous, proposed, path)


def _hold(previous: spec_pb2.Spec, proposed: spec_pb2.Spec, path: str) -> None:
    if text_at(previous, path) == text_at(proposed, path):
        return
    write(proposed, path, resolve(previous, path).value)
    for choice in proposed.choices:
        if choice.field_path == path:
            choice.source = RULE
            choice.origin = "rule R2: only what was named changes"
            choice.reason = "You named another value and not this one, so it stays as it was."


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
    reasons = {choice.field_path: choice for choice in after.choices}
    return [
        Change(
            path,
            as_text(old.get(path, "")),
            as_text(new.get(path, "")),
            _reason(path, reasons, after),
        )
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def _reason(path: str, choices: Mapping[str, spec_pb2.Choice], after: spec_pb2.Spec) -> str:
    """Return why a field has its value: by its own choice or that of what it stands in."""
    if path.startswith("verdict."):
        return after.verdict.reason
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        choice = choices.get(".".join(parts[:end]))
        if choice is not None:
            return choice.origin if choice.source == USER else choice.reason
    return ""


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
        mark(changed, path, EDITED)


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
    bare = spec_pb2.Spec()
    bare.CopyFrom(spec)
    for name in ("choices", "notices", "compute", "approval"):
        bare.ClearField(name)  # Most of a plan's bytes, and none of its decisions.
    leaves = flatten(bare)
    return {path: leaf for path, leaf in leaves.items() if path.split(".")[0] in DECISION_BLOCKS}
