"""What an expert would look at in a plan."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attune.spec.v1 import spec_pb2

from services.planner.narration import figures
from services.planner.narration.notices import in_order, worded
from services.planner.narration.presentation import consent
from services.planner.narration.reply import opened
from services.planner.narration.templates import Value, fill, spoken
from services.planner.narration.terms import (
    capitalised,
    field_name,
    source_words,
    value_words,
)
from services.planner.plan.notices import Note
from services.planner.spec.path import as_text, flatten

FAR = 3.0
"""Times the recommendation from which on a value is worth a second look."""
ROWS_STEADY = 300
"""Training rows from which on two runs of one plan score alike."""
DIFFERENCE_COARSE = 0.1
"""A hold-out that cannot tell smaller differences than this from chance is pointed out."""
ITEMS_MAX = 12
LEADING = (
    "base_model.id",
    "stages.0.technique",
    "stages.0.hyperparameters.learning_rate",
    "stages.0.hyperparameters.epoch_count",
)
LEADING_MAX = 3


def expert_review(spec: spec_pb2.Spec, notes: Sequence[Note | str], language: str) -> str:
    """Say what an expert would look at, or that there is nothing to correct.

    Args:
        spec: With its choices.
        notes: What the plan points out.
        language: ISO 639-1; another than the six is answered in English, which is said.
    """
    tongue = spoken(language)
    items = [*_graver(notes, tongue), *_far(spec, tongue), *_thin(spec, tongue)]
    items = list(dict.fromkeys(items))[:ITEMS_MAX]
    key, shown = ("review", items) if items else ("review_clean", _leading(spec, tongue))
    text = "\n".join([fill(f"replies.{key}", tongue), *(f"- {item}" for item in shown)])
    return opened(language, text, consent(spec, tongue))


def detectable_difference(spec: spec_pb2.Spec) -> float:
    """Return the smallest difference that the hold-out tells from chance, in [0, 1].

    Without a figure in the plan it is half the widest 95 % interval of a share over so many rows.
    """
    data = spec.data
    if data.minimum_detectable_difference:
        return data.minimum_detectable_difference
    if not data.holdout_row_count:
        return 0.0
    return min(1.0, 1.96 * math.sqrt(0.25 / data.holdout_row_count))


def _graver(notes: Sequence[Note | str], language: str) -> list[str]:
    shown = [
        note
        for note in in_order(notes)
        if isinstance(note, str) or note.severity != spec_pb2.Notice.SEVERITY_INFO
    ]
    return [text for note in shown if (text := worded(note, language))]


def _far(spec: spec_pb2.Spec, language: str) -> list[str]:
    leaves, found = flatten(spec), []
    for choice in spec.choices:
        path = choice.field_path
        if choice.source != spec_pb2.Choice.SOURCE_USER or path not in leaves:
            continue
        text = as_text(leaves[path])
        value, wanted = figures.parsed(text), figures.parsed(choice.recommended)
        if value is None or wanted is None or value == wanted or path.endswith("seed"):
            continue
        values: dict[str, Value] = {
            "field": capitalised(field_name(path, language, spec)),
            "value": value_words(path, text, language),
            "recommended": value_words(path, choice.recommended, language),
        }
        key = "review_other"
        if value > 0 and wanted > 0:
            times = max(value / wanted, wanted / value)
            values["times"] = round(times, 1)
            key = "review_far" if times >= FAR else key
        found.append(fill(f"replies.{key}", language, values))
    return found


def _thin(spec: spec_pb2.Spec, language: str) -> list[str]:
    data, found = spec.data, []
    if spec.stages and 0 < data.train_row_count < ROWS_STEADY:
        found.append(fill("replies.review_thin", language, {"rows": data.train_row_count}))
    difference = detectable_difference(spec)
    if spec.stages and difference > DIFFERENCE_COARSE:
        values: dict[str, Value] = {
            "holdout": data.holdout_row_count,
            "difference": round(difference, 2),
        }
        found.append(fill("replies.review_holdout", language, values))
    criteria = spec.objective.success_criteria
    if spec.stages and criteria and not criteria[0].HasField("target"):
        found.append(fill("replies.review_target", language))
    return found


def _leading(spec: spec_pb2.Spec, language: str) -> list[str]:
    leaves = flatten(spec)
    choices = {choice.field_path: choice for choice in spec.choices}
    lines = []
    for path in LEADING:
        if path not in choices or path not in leaves:
            continue
        values: dict[str, Value] = {
            "field": capitalised(field_name(path, language, spec)),
            "value": value_words(path, as_text(leaves[path]), language),
            "kind": source_words(choices[path].source, language),
        }
        lines.append(fill("replies.review_choice", language, values))
    return lines[:LEADING_MAX]
