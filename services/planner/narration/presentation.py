"""A first plan in words: the advice, what is trained on what, time and cost, consent."""

from __future__ import annotations

from collections.abc import Sequence

from attune.spec.v1 import spec_pb2

from services.planner.narration.figures import shortened
from services.planner.narration.notices import block
from services.planner.narration.phrasebook import said_in
from services.planner.narration.reply import joined, opened
from services.planner.narration.templates import Value, fill, has, spoken
from services.planner.narration.terms import (
    field_name,
    measure_words,
    technique_words,
    value_words,
)
from services.planner.plan.notices import Note
from services.planner.spec.path import as_text, flatten

YOURS_MAX = 10
"""Values set by the person that a reply repeats; the plan marks all of them."""
NOT_REPEATED = ("objective.", "data.dataset", "data.holdout_dataset", "base_model.", "verdict")
"""Starts of paths that the rest of the reply says already."""
REPEATED = {
    "V2": "volatile_knowledge",
    "V4": "data_too_small",
    "V6d": "base_already_sufficient",
    "V8": "data_too_small",
}
"""By rule of the verdict: the notice that would say its reason again."""
TRAIN = spec_pb2.Verdict.RECOMMENDATION_FINE_TUNE


def present(spec: spec_pb2.Spec, notes: Sequence[Note | str], language: str) -> str:
    """Word a new plan: also one that trains nothing.

    Args:
        spec: Complete, with its revision; `compute` where there are stages.
        notes: What the person should know besides.
        language: ISO 639-1; another than the six is answered in English, which is said.
    """
    tongue = spoken(language)
    parts = [advice(spec, tongue)]
    if spec.stages:
        insists = "" if trains(spec) else fill("verdicts.insists", tongue)
        parts.append(joined(tongue, insists, _plan(spec, tongue), _rows(spec, tongue)))
        parts.append(joined(tongue, _success(spec, tongue), _yours(spec, tongue)))
        parts.append(estimate(spec, tongue))
    repeated = REPEATED.get(next(iter(spec.verdict.rules), ""), "")
    told = [note for note in notes if isinstance(note, str) or note.code != repeated]
    return opened(language, *parts, block(told, tongue), consent(spec, tongue))


def trains(spec: spec_pb2.Spec) -> bool:
    """Return whether the advice is to train."""
    return spec.verdict.recommendation == TRAIN


def advice(spec: spec_pb2.Spec, language: str) -> str:
    """Return the verdict with its reason; when it is not to train, what to do instead."""
    verdict = spec.verdict
    name = spec_pb2.Verdict.Recommendation.Name(verdict.recommendation)
    head = f"verdicts.head_{name.removeprefix('RECOMMENDATION_')}"
    if not has(head):
        return ""
    own = f"verdicts.head_{next(iter(verdict.rules), '')}"
    head = own if has(own) else head
    said = fill(head, language, {"reason": verdict_reason(spec, language)})
    if trains(spec):
        return said
    lists = (("instead", verdict.instead), ("would_change", verdict.would_change))
    return "\n".join([said, *(_list(key, each, spec, language) for key, each in lists)])


def verdict_reason(spec: spec_pb2.Spec, language: str) -> str:
    """Return why the advice is what it is: the rule's own sentence, else one for its rule."""
    verdict = spec.verdict
    if said := said_in(language, verdict.reason):
        return said
    keys = [f"verdicts.{rule}" for rule in verdict.rules[:1]]
    return fill(next((key for key in keys if has(key)), "verdicts.other"), language)


def estimate(spec: spec_pb2.Spec, language: str) -> str:
    """Return time and cost, held against the limits; or what is missing to run at all."""
    compute, limits = spec.compute, spec.limits
    if not spec.stages or not spec.HasField("compute"):
        return ""
    if not compute.available:
        missing = " ".join(compute.missing)
        return fill("replies.unavailable", language, {"missing": missing})
    seconds = compute.expected_duration.ToTimedelta().total_seconds()
    key = "estimate" if compute.cost_micro_usd else "estimate_free"
    said = [fill(f"replies.{key}", language, {"time": seconds, "cost": compute.cost_micro_usd})]
    if limits.HasField("deadline"):
        deadline = limits.deadline.ToTimedelta().total_seconds()
        key = "deadline_kept" if seconds <= deadline else "deadline_over"
        said.append(fill(f"replies.{key}", language, {"deadline": deadline}))
    cap = limits.cost_cap_micro_usd
    if limits.HasField("cost_cap_micro_usd") and compute.cost_micro_usd > cap:
        said.append(fill("replies.cap_over", language, {"cap": cap}))
    return joined(language, *said)


def consent(spec: spec_pb2.Spec, language: str) -> str:
    """Return that nothing runs before approval, and what approval still needs."""
    key = "consent"
    if not spec.stages:
        key = "consent_nothing"
    elif spec.data.provisional or not spec.data.dataset:
        key = "consent_data"
    return fill(f"replies.{key}", language, {"revision": str(spec.revision)})


def model_words(spec: spec_pb2.Spec, language: str) -> str:
    """Return the base model with its size where it is known."""
    model = spec.base_model
    values: dict[str, Value] = {"id": shortened(model.id)}
    if model.parameter_count:
        values["size"] = model.parameter_count
    return fill("replies.model", language, values)


def _list(key: str, sentences: Sequence[str], spec: spec_pb2.Spec, language: str) -> str:
    """Return sentences of the verdict, or the one for its advice when they have no phrases."""
    name = spec_pb2.Verdict.Recommendation.Name(spec.verdict.recommendation)
    said = [text for each in sentences if (text := said_in(language, each))]
    said = said or [fill(f"verdicts.{key}_{name.removeprefix('RECOMMENDATION_')}", language)]
    return "\n".join([fill(f"verdicts.{key}", language), *(f"- {each}" for each in said)])


def _plan(spec: spec_pb2.Spec, language: str) -> str:
    how = technique_words(spec.stages[0], language)
    for stage in spec.stages[1:]:
        second = technique_words(stage, language)
        how = fill("replies.then", language, {"first": how, "second": second})
    model = model_words(spec, language)
    return fill("replies.plan", language, {"model": model, "how": how})


def _rows(spec: spec_pb2.Spec, language: str) -> str:
    data = spec.data
    if not data.train_row_count:
        return fill("replies.rows_unknown", language)
    values: dict[str, Value] = {"train": data.train_row_count, "holdout": data.holdout_row_count}
    if data.minimum_detectable_difference:
        values["difference"] = data.minimum_detectable_difference
    return fill("replies.rows", language, values)


def _success(spec: spec_pb2.Spec, language: str) -> str:
    if not spec.objective.success_criteria:
        return ""
    criterion = spec.objective.success_criteria[0]
    values: dict[str, Value] = {"measure": measure_words(spec, language)}
    if not criterion.HasField("target"):
        return fill("replies.success_open", language, values)
    values["target"] = criterion.target
    is_low = criterion.direction == spec_pb2.SuccessCriterion.DIRECTION_LOWER_IS_BETTER
    return fill("replies.success_low" if is_low else "replies.success", language, values)


def _yours(spec: spec_pb2.Spec, language: str) -> str:
    leaves = flatten(spec)
    said = [
        f"{field_name(choice.field_path, language, spec)} "
        f"{value_words(choice.field_path, as_text(leaves[choice.field_path]), language)}"
        for choice in spec.choices
        if choice.source == spec_pb2.Choice.SOURCE_USER
        and choice.field_path in leaves
        and not choice.field_path.startswith(NOT_REPEATED)
        and not choice.field_path.endswith((".technique", ".method"))
    ]
    if not said:
        return ""
    comma = "、" if spoken(language) == "ja" else ", "
    values = {"values": comma.join(said[:YOURS_MAX])}
    return fill("replies.yours", language, values)
