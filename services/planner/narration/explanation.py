"""Why fields of a plan have their values: from the plan's own choices, with figures and sources."""

from __future__ import annotations

from collections.abc import Sequence

from attune.spec.v1 import spec_pb2

from services.planner.narration import figures
from services.planner.narration.phrasebook import said_in
from services.planner.narration.presentation import advice, estimate
from services.planner.narration.reply import joined, opened
from services.planner.narration.templates import Value, fill, has, spoken
from services.planner.narration.terms import (
    bare_path,
    capitalised,
    field_name,
    source_words,
    value_words,
)
from services.planner.spec.path import as_text, flatten

PATHS_MAX = 8
"""Fields that one reply explains."""
ALTERNATIVES_MAX = 6
KNOWN_ORIGINS = {"You said: ": "your_words"}
LEADING = (
    "base_model.id",
    "stages.0.technique",
    "stages.0.hyperparameters.learning_rate",
)
"""What decides most of a result; explained when no field was named."""


def explain(spec: spec_pb2.Spec, paths: Sequence[str], language: str) -> str:
    """Say why fields have their values; nothing of the plan is changed.

    Args:
        spec: With its choices.
        paths: Fields, or what holds them, such as `stages.0.hyperparameters`; when empty, the
            verdict and the choices that decide most.
        language: ISO 639-1; another than the six is answered in English, which is said.
    """
    tongue = spoken(language)
    wanted = list(dict.fromkeys(paths)) or ["verdict", *LEADING]
    parts: list[str] = []
    for path in _expanded(spec, wanted)[:PATHS_MAX]:
        if text := _about(spec, path, tongue):
            parts.append(text)
    if not parts:
        parts = [fill("replies.no_choice", tongue)]
    return opened(language, *parts)


def _expanded(spec: spec_pb2.Spec, paths: Sequence[str]) -> list[str]:
    """Return paths of choices: one that holds several stands for those inside it."""
    chosen = [choice.field_path for choice in spec.choices]
    found: list[str] = []
    for path in paths:
        inside = [each for each in chosen if each.startswith(f"{path}.")]
        elsewhere = [each for each in chosen if bare_path(each) == bare_path(path)]
        if path in ("verdict", "compute") or path in chosen:
            found.append(path)
        else:
            found += inside or elsewhere or [path]
    return list(dict.fromkeys(found))


def _about(spec: spec_pb2.Spec, path: str, language: str) -> str:
    if path.split(".")[0] == "verdict":
        rules = ", ".join(spec.verdict.rules)
        decided = fill("replies.rules", language, {"rules": rules}) if rules else ""
        return "\n".join(part for part in (advice(spec, language), decided) if part)
    if path.split(".")[0] == "compute":
        return estimate(spec, language)
    found = next((each for each in spec.choices if each.field_path == path), None)
    concept = concept_words(path, language)
    if found is None:
        return _unchosen(spec, path, concept, language)
    return joined(language, *_value(spec, found, language), concept, *_why(spec, found, language))


def concept_words(path: str, language: str) -> str:
    """Return what a decision means in one sentence; empty where there is none."""
    key = f"concepts.{bare_path(path)}"
    return fill(key, language) if has(key) else ""


def _unchosen(spec: spec_pb2.Spec, path: str, concept: str, language: str) -> str:
    leaves = flatten(spec)
    name = capitalised(field_name(path, language, spec))
    if path in leaves:
        value = value_words(path, as_text(leaves[path]), language)
        said = fill("replies.value", language, {"field": name, "value": value})
        return joined(language, said, concept)
    if not has(f"fields.{bare_path(path)}"):
        return ""
    return joined(language, fill("replies.value_unset", language, {"field": name}), concept)


def _value(spec: spec_pb2.Spec, choice: spec_pb2.Choice, language: str) -> list[str]:
    path = choice.field_path
    name = capitalised(field_name(path, language, spec))
    text = _text(spec, path)
    if not text:
        return [fill("replies.value_unset", language, {"field": name})]
    value = value_words(path, text, language)
    said = [fill("replies.value", language, {"field": name, "value": value})]
    recommended = value_words(path, choice.recommended, language)
    if choice.recommended and recommended != value and not path.endswith(".graders"):
        said.append(fill("replies.recommended", language, {"recommended": recommended}))
    if choice.HasField("minimum") and choice.HasField("maximum"):
        bounds: dict[str, Value] = {
            "low": value_words(path, as_text(choice.minimum), language),
            "high": value_words(path, as_text(choice.maximum), language),
        }
        said.append(fill("replies.range", language, bounds))
    return said


def _why(spec: spec_pb2.Spec, choice: spec_pb2.Choice, language: str) -> list[str]:
    said = []
    if reason := said_in(language, choice.reason):
        said.append(fill("replies.reason", language, {"reason": reason}))
    kind = source_words(choice.source, language)
    if kind:
        values: dict[str, Value] = {"kind": kind, "origin": origin_words(choice, language)}
        said.append(fill("replies.source", language, values))
    others = _others(spec, choice.field_path)
    if others:
        said.append(fill("replies.alternatives", language, {"names": ", ".join(others)}))
    return said


def origin_words(choice: spec_pb2.Choice, language: str) -> str:
    """Return what a value rests on: a recipe with its source, a rule, your own words."""
    for start, key in KNOWN_ORIGINS.items():
        if choice.origin.startswith(start):
            words = choice.origin.removeprefix(start)
            return fill(f"replies.{key}", language, {"words": words})
    return said_in(language, choice.origin) or figures.shortened(choice.origin)


def _others(spec: spec_pb2.Spec, path: str) -> list[str]:
    if path != "base_model.id":
        return []
    return [figures.shortened(each.title) for each in spec.base_model.alternatives][
        :ALTERNATIVES_MAX
    ]


def _text(spec: spec_pb2.Spec, path: str) -> str:
    leaves = flatten(spec)
    if path in leaves:
        return as_text(leaves[path])
    named = ".name" if path.endswith(".graders") else ""
    inside = [
        as_text(leaf)
        for name, leaf in leaves.items()
        if name.startswith(f"{path}.") and name.endswith(named)
    ]
    return figures.shortened(", ".join(inside))
