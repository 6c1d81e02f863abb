"""Graders of a plan that ask a model, and what to say where the trainer has none to ask."""

from __future__ import annotations

from attune.spec.v1 import grader_pb2, spec_pb2

from services.planner.plan.graders import JUDGED, kind_name
from services.planner.plan.notices import Note, note

REMEDY = (
    "Set ATTUNE_JUDGE_BASE_URL to an OpenAI-compatible endpoint and start the trainer again, or "
    "choose graders that need none."
)


def judged_fields(spec: spec_pb2.Spec) -> dict[str, str]:
    """Return the graders of a plan that ask a model: the kind of each, by its field's path."""
    found: dict[str, str] = {}
    for index, one in enumerate(spec.evaluation.graders):
        found |= _inside(one, f"evaluation.graders.{index}")
    for position, stage in enumerate(spec.stages):
        for index, weighted in enumerate(stage.reward.graders):
            path = f"stages.{position}.reward.graders.{index}.grader"
            found |= _inside(weighted.grader, path)
    return found


def judge_notes(spec: spec_pb2.Spec, has_judge: bool | None) -> list[Note]:
    """Return what to say of graders that ask a model; nothing unless there surely is none.

    Args:
        spec: Complete.
        has_judge: Whether the trainer has one; None while it does not say.
    """
    found = judged_fields(spec)
    if has_judge is not False or not found or not spec.stages:
        return []
    kinds = ", ".join(dict.fromkeys(found.values()))
    return [note("no_judge", field_path=next(iter(found)), graders=kinds)]


def lack_of_judge(spec: spec_pb2.Spec) -> str:
    """Return why a plan cannot run without a judge, with the remedy; empty when it can."""
    named = ", ".join(f"{path} ({kind})" for path, kind in judged_fields(spec).items())
    return f"The trainer has no judge, and {named} ask one. {REMEDY}" if named else ""


def _inside(grader: grader_pb2.Grader, path: str) -> dict[str, str]:
    """Return a grader, or those that it combines, if they ask a model."""
    kind = kind_name(grader)
    if kind in JUDGED:
        return {path: kind}
    found: dict[str, str] = {}
    for index, one in enumerate(grader.multi.graders):
        found |= _inside(one, f"{path}.multi.graders.{index}")
    return found
