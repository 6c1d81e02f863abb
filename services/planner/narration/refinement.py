"""What a message or a person changed in a plan, field by field; consent, and none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from attune.spec.v1 import spec_pb2

from services.planner.narration import figures
from services.planner.narration.notices import block
from services.planner.narration.phrasebook import said_in
from services.planner.narration.presentation import advice, consent, estimate
from services.planner.narration.reply import opened
from services.planner.narration.templates import Value, fill, spoken
from services.planner.narration.terms import (
    OF_GRADERS,
    bare_path,
    capitalised,
    field_name,
    source_words,
    technique_words,
    value_words,
)
from services.planner.plan.notices import Note
from services.planner.spec.edit import Change

CHANGES_MAX = 20
"""Lines of changes in one reply; the turn holds all of them."""
SILENT = re.compile(
    r".*_sha256|base_model\.(revision|licence|context_length|parameter_count|languages.*)"
    r"|base_model\.alternatives\..*|stages\.\d+\.rejected_alternatives\..*|.*\.previews\..*"
    r"|verdict\.(?!recommendation).*|data\.(guidelines.*|preparation_steps|split_method|format)"
    r"|data\.(minimum_detectable_difference|provisional)|.*\.aggregate|.*\.direction|.*\.title"
)
"""Paths that only follow from another change and say nothing of their own."""
GRADERS = re.compile(r"(evaluation\.graders|stages\.\d+\.reward\.graders)\.\d+\.(?!weight$).*")
STAGE = re.compile(r"stages\.(\d+)\.")
NAMES_MAX = 8


@dataclass(frozen=True)
class _Line:
    """One change in words."""

    text: str
    is_theirs: bool
    """Whether the person asked for it."""


def refine(
    spec: spec_pb2.Spec, changes: Sequence[Change], notes: Sequence[Note | str], language: str
) -> str:
    """Word what a message changed: what was asked for, what followed, the estimate, consent.

    Args:
        spec: The new revision.
        changes: Against the one before.
        notes: What else there is to say.
        language: ISO 639-1; another than the six is answered in English, which is said.
    """
    tongue = spoken(language)
    turned = any(change.field_path == "verdict.recommendation" for change in changes)
    head = fill("replies.changes", tongue, {"revision": str(spec.revision)})
    return opened(
        language,
        _listed(head, spec, changes, tongue),
        advice(spec, tongue) if turned else "",
        estimate(spec, tongue),
        block(notes, tongue),
        consent(spec, tongue),
    )


def restored(spec: spec_pb2.Spec, changes: Sequence[Change], language: str) -> str:
    """Word that an earlier revision's decisions are back.

    Args:
        spec: The new revision.
        changes: Against the revision before it; empty when it already was the same.
        language: ISO 639-1.
    """
    tongue = spoken(language)
    key = "restored" if changes else "restored_same"
    head = fill(f"replies.{key}", tongue, {"revision": str(spec.revision)})
    listed = _listed(head, spec, changes, tongue, plain=True)
    return opened(language, listed, estimate(spec, tongue), consent(spec, tongue))


def unchanged(notes: Sequence[Note | str], language: str) -> str:
    """Word that a message changed nothing in the plan."""
    return opened(language, block(notes, language), fill("replies.unchanged", language))


def agree(spec: spec_pb2.Spec, language: str) -> str:
    """Word how to approve, for a yes in a conversation is not yet a consent to exact bytes."""
    values: dict[str, Value] = {"revision": str(spec.revision), "hash": spec.hash}
    if spec.state == spec_pb2.Spec.STATE_APPROVED:
        return opened(language, fill("replies.approved", language, values))
    if not spec.stages or spec.data.provisional or not spec.data.dataset:
        return opened(language, consent(spec, language))
    return opened(language, fill("replies.agree", language, values))


def wait(language: str) -> str:
    """Word that nothing happens without consent."""
    return opened(language, fill("replies.wait", language))


def _listed(
    head: str, spec: spec_pb2.Spec, changes: Sequence[Change], language: str, *, plain: bool = False
) -> str:
    """Return the changes as lines, those that were asked for first; plain without reasons."""
    lines = _lines(spec, changes, language, plain=plain)
    theirs = [line.text for line in lines if line.is_theirs or plain]
    followed = [line.text for line in lines if not (line.is_theirs or plain)]
    if not theirs:
        theirs, followed = followed, []
    shown = [head, *(f"  {text}" for text in theirs[:CHANGES_MAX])]
    room = CHANGES_MAX - len(theirs)
    if followed and room > 0:
        shown.append(fill("replies.follows", language))
        shown += [f"  {text}" for text in followed[:room]]
    if len(lines) > CHANGES_MAX:
        left = {"count": len(lines) - CHANGES_MAX}
        shown.append("  " + fill("replies.more_changes", language, left))
    return "\n".join(shown)


def _lines(
    spec: spec_pb2.Spec, changes: Sequence[Change], language: str, *, plain: bool
) -> list[_Line]:
    choices = {choice.field_path: choice for choice in spec.choices}
    moved = _stages_moved(spec, changes, language)
    lines = [_Line(text, False) for text in moved.values()]
    seen: set[str] = set()
    for change in changes:
        path = change.field_path
        stage = STAGE.match(path)
        if SILENT.fullmatch(path) or (stage and stage[1] in moved):
            continue
        has_name = bare_path(path) in OF_GRADERS.values() and change.before and change.after
        if (grader := GRADERS.fullmatch(path)) and not has_name:
            path = grader[1]
            if path not in seen:
                seen.add(path)
                lines.append(_Line(_graders(spec, path, language), False))
            continue
        choice = choices.get(path)
        is_theirs = choice is not None and choice.source == spec_pb2.Choice.SOURCE_USER
        shown = None if plain else choice
        lines.append(_Line(_change(spec, change, shown, language), is_theirs))
    return lines


def _change(
    spec: spec_pb2.Spec, change: Change, choice: spec_pb2.Choice | None, language: str
) -> str:
    path = change.field_path
    values: dict[str, Value] = {
        "field": capitalised(field_name(path, language, spec)),
        "before": value_words(path, change.before, language),
        "after": value_words(path, change.after, language),
        "reason": _reason(choice, language) if change.after else "",
    }
    return fill("replies.change", language, values)


def _reason(choice: spec_pb2.Choice | None, language: str) -> str:
    """Return in a few words why a field has its new value; empty when the person just said so."""
    if choice is None or choice.source == spec_pb2.Choice.SOURCE_USER:
        return ""
    if text := said_in(language, choice.reason):
        return figures.shortened(text).rstrip(".。")
    origin = figures.shortened(choice.origin)
    kind = source_words(choice.source, language)
    comma = "、" if spoken(language) == "ja" else ", "
    return comma.join(part for part in (kind, origin) if part)


def _stages_moved(spec: spec_pb2.Spec, changes: Sequence[Change], language: str) -> dict[str, str]:
    """Return by position the stages that came or went, which need one line each."""
    moved: dict[str, str] = {}
    for change in changes:
        stage = STAGE.match(change.field_path)
        if stage is None or not change.field_path.endswith(".technique"):
            continue
        values: dict[str, Value] = {"stage": int(stage[1]) + 1}
        if not change.after:
            text = fill("replies.stage_dropped", language, values)
            moved[stage[1]] = capitalised(text)
        elif not change.before and int(stage[1]) < len(spec.stages):
            values["how"] = technique_words(spec.stages[int(stage[1])], language)
            moved[stage[1]] = capitalised(fill("replies.stage_added", language, values))
    return moved


def _graders(spec: spec_pb2.Spec, path: str, language: str) -> str:
    if stage := STAGE.match(path):
        held = spec.stages[int(stage[1])].reward.graders if int(stage[1]) < len(spec.stages) else []
        names = [weighted.grader.name for weighted in held]
    else:
        names = [grader.name for grader in spec.evaluation.graders]
    values: dict[str, Value] = {
        "field": capitalised(field_name(path, language, spec)),
        "after": ", ".join(names[:NAMES_MAX]) or fill("values.unset", language),
    }
    return fill("replies.change_now", language, values)
