"""Makes a plan fit its deadline, and says what was given up for it."""

from __future__ import annotations

import math

from attune.spec.v1 import spec_pb2

from services.planner.plan.choice import RULE, USER
from services.planner.plan.notices import Note, note
from services.planner.spec.edit import mark
from services.planner.spec.path import as_text

MARGIN = 0.9
"""Share of the deadline that the estimate may fill, for estimates err."""
EPOCHS_LEAST = 0.25
"""Below a quarter of the rows a smaller base model learns more in the same time."""
STEP = 0.05
"""Epochs are whole above 2, and multiples of this below."""


def fit_deadline(spec: spec_pb2.Spec, estimate_s: float) -> tuple[spec_pb2.Spec, Note | None]:
    """Return the plan with as many passes as its deadline has room for, and what to say.

    The time of training grows with the passes, that of baseline and evaluation does not; so call
    it again with the new estimate until it returns no change. The deadline itself stays, and so
    does everything else.

    Args:
        spec: With its stages; one without deadline or stages is returned as it is.
        estimate_s: Expected time of the whole plan in seconds, above 0.

    Returns:
        A new spec when passes were cut, else the same one; and a note when the deadline made a
        difference: `deadline_fitted` with the passes before and after, or `deadline_missed` when
        fewer passes than are worth training would be left.
    """
    if not spec.stages or not spec.limits.HasField("deadline") or estimate_s <= 0:
        return spec, None
    deadline_s = spec.limits.deadline.ToTimedelta().total_seconds()
    if estimate_s <= deadline_s:
        return spec, None
    share = MARGIN * deadline_s / estimate_s
    fitted = spec_pb2.Spec()
    fitted.CopyFrom(spec)
    given_up = []
    for index, stage in enumerate(fitted.stages):
        before = stage.hyperparameters.epoch_count
        after = fewer(before, share)
        if after < before:
            stage.hyperparameters.epoch_count = after
            path = f"stages.{index}.hyperparameters.epoch_count"
            _mark(fitted, path, before, deadline_s)
            given_up.append((path, before, after))
    hours = as_text(round(deadline_s / 3600, 2))
    if not given_up:
        missed = note(
            "deadline_missed",
            field_path="limits.deadline",
            rule="R4",
            hours=hours,
            estimate=as_text(round(estimate_s / 3600, 2)),
        )
        return spec, missed
    path, before, after = given_up[0]
    said = note(
        "deadline_fitted",
        field_path=path,
        rule="R4",
        hours=hours,
        before=as_text(before),
        after=as_text(after),
    )
    return fitted, said


def fewer(epochs: float, share: float) -> float:
    """Return so many passes that their time shrinks to a share, never fewer than EPOCHS_LEAST.

    Args:
        epochs: Passes now.
        share: In (0, 1).
    """
    wanted = epochs * share
    rounded = float(math.floor(wanted)) if wanted >= 2 else math.floor(wanted / STEP) * STEP
    return min(epochs, max(EPOCHS_LEAST, round(rounded, 2)))


def _mark(spec: spec_pb2.Spec, path: str, before: float, deadline_s: float) -> None:
    theirs = any(each.field_path == path and each.source == USER for each in spec.choices)
    mark(spec, path, "")
    hours = as_text(round(deadline_s / 3600, 2))
    for choice in spec.choices:
        if choice.field_path == path:
            choice.source = RULE
            choice.origin = f"rule R4: your deadline of {hours} hours"
            who = "you had said" if theirs else "the recipe says"
            choice.reason = f"More passes would not fit into it; {who} {as_text(before)}."
