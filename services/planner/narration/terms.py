"""Fields, values, graders and durations of a spec in words."""

from __future__ import annotations

import re

from attune.spec.v1 import grader_pb2, spec_pb2, stage_pb2

from services.planner.narration import figures
from services.planner.narration.templates import Value, duration, fill, has

STAGE = re.compile(r"stages\.(\d+)\.(?:hyperparameters\.)?")
WEIGHT = re.compile(r"stages\.(\d+)\.reward\.graders\.(\d+)\.weight")
DURATION = re.compile(r"(\d+(?:\.\d+)?)s")
SHARES = ("target", "fraction", "confidence", "share")
"""Last parts of the paths of shares in [0, 1] that people read as percent."""
DURATIONS = ("deadline", "interval")
UNGROUPED = ("seed",)
"""Last parts of paths of numbers that are names rather than quantities."""
DATASET = re.compile(r"projects/[^/]+/datasets/([^/]+)")
MEASURES = {
    "string_check": "exact",
    "text_similarity": "similarity",
    "score_model": "judge",
    "label_model": "judge",
    "python": "tests",
    "multi": "score",
    "json_schema": "json_form",
    "tool_call": "tool_call",
    "math": "number",
    "numeric": "number",
    "regex": "form",
    "length": "form",
    "win_rate": "win_rate",
    "preference": "preference",
}
"""By kind of grader: the measure that its mean is."""


OF_GRADERS = {
    ".model": "judge_model",
    ".sampling.temperature": "judge_temperature",
    ".tolerance": "tolerance",
}
"""Settings of a grader that have a name, by the end of their path."""
WORDS_MAX = 3
"""Values with an entry of more words than these are sentences, and are quoted."""


def bare_path(path: str) -> str:
    """Return a path without positions, `stages.` and `hyperparameters.`, such as `lora.rank`."""
    parts = STAGE.sub("", path).split(".")
    bare = ".".join(part for part in parts if not part.isdigit())
    inside = next((name for end, name in OF_GRADERS.items() if bare.endswith(end)), "")
    return inside if inside and ".graders." in bare else bare


def field_name(path: str, language: str, spec: spec_pb2.Spec | None = None) -> str:
    """Return a field in words; its path when it has none.

    Args:
        path: Such as `stages.0.hyperparameters.lora.rank`.
        language: One of the six.
        spec: Names graders and says whether there are several stages.
    """
    key = f"fields.{bare_path(path)}"
    values: dict[str, Value] = {}
    if spec is not None and (weight := WEIGHT.fullmatch(path)):
        values["name"] = _grader_name(spec, int(weight[1]), int(weight[2]))
    name = fill(key, language, values) if has(key) else path
    stage = STAGE.match(path)
    if stage and has(key) and (stage[1] != "0" or (spec is not None and len(spec.stages) > 1)):
        place: dict[str, Value] = {"field": name, "stage": int(stage[1]) + 1}
        return fill("replies.in_stage", language, place)
    return name


def capitalised(text: str) -> str:
    """Return a text with a capital first letter; words of a formula stay."""
    return text[:1].upper() + text[1:]


def value_words(path: str, text: str, language: str) -> str:
    """Return a value in words: shares as percent, durations and money with their unit.

    Args:
        path: Of its field.
        text: The value as `spec.path.as_text` writes it; empty when unset.
        language: One of the six.
    """
    if text == "":
        return fill("values.unset", language)
    if has(f"values.{text}"):
        return fill(f"values.{text}", language)
    last = path.rsplit(".", 1)[-1]
    timed = DURATION.fullmatch(text)
    if timed and last.endswith(DURATIONS):
        return duration(float(timed[1]), language)
    if dataset := DATASET.fullmatch(text):
        return dataset[1]
    exact = figures.parsed(text)
    if exact is None and any(len(item.split()) > WORDS_MAX for item in text.split(", ")):
        return figures.quoted(text, language)
    if exact is None or last.endswith(UNGROUPED):
        return figures.shortened(text)
    if last.endswith("micro_usd"):
        return figures.money(exact, language)
    if last.endswith(SHARES):
        return figures.percent(exact, language)
    return figures.number(exact, language)


def technique_words(stage: stage_pb2.Stage, language: str) -> str:
    """Return how a stage teaches and what it changes, each with its explanation."""
    technique = stage_pb2.Technique.Name(stage.technique)
    method = stage_pb2.Method.Name(stage.method)
    if not has(f"values.{technique}") or not has(f"values.{method}"):
        return f"{technique} {method}"
    return fill(
        "replies.how",
        language,
        {
            "technique": fill(f"values.{technique}", language),
            "technique_how": fill(f"values.{technique}.how", language),
            "method": fill(f"values.{method}", language),
            "method_how": fill(f"values.{method}.how", language),
        },
    )


def measure_words(spec: spec_pb2.Spec, language: str) -> str:
    """Return in words what the first success criterion measures."""
    criterion = spec.objective.success_criteria[0]
    by_name = {grader.name: grader for grader in spec.evaluation.graders}
    grader = by_name.get(criterion.metric, grader_pb2.Grader())
    if criterion.aggregate == spec_pb2.SuccessCriterion.AGGREGATE_MACRO_F1:
        return fill("values.measure.macro_f1", language)
    kind = grader.WhichOneof("kind") or ""
    measure = MEASURES.get(kind, "score")
    if kind == "json_schema" and grader.json_schema.reference:
        measure = "json"
    if kind == "string_check" and grader.string_check.operation not in EXACT:
        measure = "form"
    return fill(f"values.measure.{measure}", language)


EXACT = (
    grader_pb2.StringCheckGrader.OPERATION_EQ,
    grader_pb2.StringCheckGrader.OPERATION_ILIKE,
)
"""Operations that compare the whole answer."""


def language_name(code: str, language: str) -> str:
    """Return the name of a language; the code itself, quoted, when it has none here."""
    key = f"languages.{code}"
    return fill(key, language) if has(key) else figures.quoted(code, language)


def source_words(source: spec_pb2.Choice.Source.ValueType, language: str) -> str:
    """Return who decided, in words."""
    key = f"values.{spec_pb2.Choice.Source.Name(source)}"
    return fill(key, language) if has(key) else ""


def _grader_name(spec: spec_pb2.Spec, stage: int, grader: int) -> str:
    if stage >= len(spec.stages) or grader >= len(spec.stages[stage].reward.graders):
        return ""
    return spec.stages[stage].reward.graders[grader].grader.name
