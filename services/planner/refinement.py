"""How a new proposal meets the revision before it: what changes, and what stays as it was."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attune.spec.v1 import spec_pb2, stage_pb2

from services.common.errors import InvalidArgument, invalid
from services.planner.brief import BriefPatch
from services.planner.plan.choice import place
from services.planner.plan.notices import Note, note
from services.planner.spec.edit import carry_over, diff
from services.planner.spec.path import resolve, text_at, write
from services.planner.spec.rules import violations

BLOCKS = (
    ("technique", ("stages",)),
    ("method", ("stages",)),
    ("base_model", ("base_model",)),
    ("parameters_max_b", ("base_model",)),
    ("holdout_rows", ("data.holdout_fraction",)),
    ("task", ("objective.task",)),
    ("languages", ("objective.languages",)),
    ("grader_kinds", ("objective.success_criteria", "evaluation.graders")),
)
"""Parts of a plan that a patch decides beyond the paths that it names."""
REWARD_BLOCKS = ("objective.success_criteria", "evaluation.graders")
"""What follows the criteria of a reward."""
DEADLINE_ORIGIN = "rule R4:"
"""How the origin of a value begins that was cut for a deadline."""
HOLDOUT_FACTS = ("train_row_count", "holdout_row_count", "minimum_detectable_difference")
"""Fields of the data block that follow the size of the hold-out."""


def refined(
    before: spec_pb2.Spec,
    known: spec_pb2.Spec | None,
    proposed: spec_pb2.Spec,
    patch: BriefPatch,
) -> tuple[spec_pb2.Spec, list[Note]]:
    """Return the plan after a message, and what could not stay.

    The message changes what differs between two proposals, without it and with it. Whatever else
    the newest revision has of its own, from edits or from `nothing else`, stays.

    Args:
        before: The newest revision.
        known: What the brief led to without the message; None when it led to nothing.
        proposed: What the brief leads to now; left as it is.
        patch: What the message said.

    Raises:
        InvalidArgument: If what a person set cannot stand beside what was proposed.
    """
    if patch.only:
        return narrowed(before, proposed, decided_paths(patch, proposed)), []
    spec = spec_pb2.Spec()
    spec.CopyFrom(proposed)
    decided = decided_paths(patch, proposed)
    for path in _own(before, known, proposed) if known is not None else ():
        _take(spec, before, path)
    # A stage that is new keeps what a person set in the old one, where it has such a field.
    blocks = decided - {"stages"}
    inside = {choice.field_path for choice in before.choices}
    carry_over(before, spec, decided | {p for p in inside if any(_inside(p, b) for b in blocks)})
    broken = violations(spec)
    if not broken:
        return spec, []
    notes = []
    for violation in broken:
        value = text_at(spec, violation.field) if _resolves(spec, violation.field) else ""
        _take(spec, proposed, violation.field)
        notes.append(
            note(
                "user_value_rejected",
                field_path=violation.field,
                rule="U4",
                field=violation.field,
                value=value,
                why=violation.message,
            )
        )
    if still := violations(spec):
        raise invalid(still)
    return spec, notes


def _own(before: spec_pb2.Spec, known: spec_pb2.Spec, proposed: spec_pb2.Spec) -> list[str]:
    """Return what a revision has of its own that a message leaves alone."""
    moved = {_whole(change.field_path) for change in diff(known, proposed)}
    own = {_whole(change.field_path) for change in diff(known, before)}
    # What was cut for a deadline is cut anew, for the deadline that holds now.
    own -= {c.field_path for c in before.choices if c.origin.startswith(DEADLINE_ORIGIN)}
    if not _same_kinds(before.stages, proposed.stages):
        own = {path for path in own if not path.startswith("stages")}
    return sorted(own - moved)


def _whole(path: str) -> str:
    """Return the path up to a list of messages, which only makes sense whole; stages do not."""
    descriptor, parts = spec_pb2.Spec.DESCRIPTOR, path.split(".")
    start = 2 if parts[0] == "stages" else 0
    if start:
        descriptor = stage_pb2.Stage.DESCRIPTOR
    for index, part in enumerate(parts[start:], start):
        field = descriptor.fields_by_name.get(part)
        if field is None or field.message_type is None:
            break
        if field.is_repeated:
            return ".".join(parts[: index + 1])
        descriptor = field.message_type
    return path


def decided_paths(patch: BriefPatch, proposed: spec_pb2.Spec) -> set[str]:
    """Return the paths of a plan that a message decides, whole blocks among them."""
    techniques = [stage.technique for stage in proposed.stages]
    found = {place(path, techniques) for path in patch.paths}
    for name, paths in BLOCKS:
        if getattr(patch, name):
            found.update(paths)
    if patch.criteria or patch.criteria_removed or patch.judge_model:
        found.update(REWARD_BLOCKS)
        found.update(
            f"stages.{index}.reward"
            for index, stage in enumerate(proposed.stages)
            if stage.HasField("reward")
        )
    return found


def narrowed(
    before: spec_pb2.Spec, proposed: spec_pb2.Spec, paths: Collection[str]
) -> spec_pb2.Spec:
    """Return the revision before with nothing but the named paths as they are proposed."""
    spec = spec_pb2.Spec()
    spec.CopyFrom(before)
    if not _same_kinds(before.stages, proposed.stages):
        paths = {*paths, "stages"} if any(p.startswith("stages") for p in paths) else paths
    for path in sorted(paths, key=len):
        _take(spec, proposed, path)
    if "base_model.id" in paths:
        _take(spec, proposed, "base_model")
    if any(path.startswith("data.holdout") for path in paths):
        for name in HOLDOUT_FACTS:
            _take(spec, proposed, f"data.{name}")
    return spec


def restored(earlier: spec_pb2.Spec, newest: spec_pb2.Spec) -> spec_pb2.Spec:
    """Return a draft with the decisions of an earlier revision; it hashes as that one did."""
    spec = spec_pb2.Spec()
    spec.CopyFrom(earlier)
    for name in ("approval", "compute", "hash", "etag"):
        spec.ClearField(name)
    spec.name, spec.conversation = newest.name, newest.conversation
    return spec


def _same_kinds(before: Sequence[stage_pb2.Stage], after: Sequence[stage_pb2.Stage]) -> bool:
    def kinds(stages: Sequence[stage_pb2.Stage]) -> list[tuple[int, int]]:
        return [(stage.technique, stage.method) for stage in stages]

    return kinds(before) == kinds(after)


def _take(spec: spec_pb2.Spec, proposed: spec_pb2.Spec, path: str) -> None:
    """Write what is proposed at a path, with the choices that belong to it."""
    if not (_resolves(spec, path) and _resolves(proposed, path)):
        return
    place = resolve(proposed, path)
    write(spec, path, place.value if place.is_set else None)
    kept = [choice for choice in spec.choices if not _inside(choice.field_path, path)]
    taken = [choice for choice in proposed.choices if _inside(choice.field_path, path)]
    del spec.choices[:]
    spec.choices.extend([*kept, *taken])


def _inside(field_path: str, path: str) -> bool:
    return field_path == path or field_path.startswith(f"{path}.")


def _resolves(spec: spec_pb2.Spec, path: str) -> bool:
    try:
        resolve(spec, path)
    except InvalidArgument:
        return False
    return True
