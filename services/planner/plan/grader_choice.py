"""What to judge answers by: rules G1 to G11, by task and shape of the data."""

from __future__ import annotations

from attune.spec.v1 import stage_pb2

from services.planner.plan.evidence import Evidence
from services.planner.plan.technique import DPO, RLAIF, RLVR
from services.planner.vocabulary import Shape, Signal, Task

BY_TASK = {
    Task.CLASSIFICATION: ("G1", ("macro_f1", "exact_match")),
    Task.EXTRACTION: ("G2", ("json_schema", "exact_match")),
    Task.STYLE: ("G3", ("score_model", "win_rate", "text_similarity")),
    Task.DIALOGUE: ("G3", ("score_model", "win_rate", "text_similarity")),
    Task.GENERATION: ("G3", ("score_model", "win_rate", "text_similarity")),
    Task.TOOL_CALLING: ("G4", ("tool_call", "exact_match")),
    Task.SUMMARIZATION: ("G5", ("score_model", "rouge_l", "text_similarity")),
    Task.QUESTION_ANSWERING: ("G5", ("score_model", "text_similarity")),
    Task.TRANSLATION: ("G6", ("text_similarity", "score_model", "string_check")),
    Task.MATH_REASONING: ("G9", ("math", "numeric", "exact_match")),
    Task.CODE: ("G10", ("unit_tests", "exact_match")),
}
"""Rule and graders of a task, the deciding one first (field D7, DESIGN 4)."""
PREFERENCE = ("G7", ("win_rate", "score_model"))
RUBRIC = ("G8", ("score_model", "win_rate"))
FORM = ("G11", ("regex", "string_check"))
JUDGED_RULES = frozenset({"G3", "G5"})
"""Rules whose graders are opinions: what code rewards is judged by code instead."""
NEED_REFERENCES = frozenset({"text_similarity", "rouge_l", "exact_match", "macro_f1", "exact_json"})
JSON_KINDS = frozenset({"json_schema", "exact_json"})
SHORT_ANSWER_TOKENS = 32
"""Answers up to this length are compared as they are when the task is unknown."""
NOT_RECORDS = frozenset({Task.CODE, Task.TOOL_CALLING, Task.MATH_REASONING})
"""Tasks whose answers are more than records even when they are written as JSON."""


def choose_graders(
    evidence: Evidence, task: str, techniques: tuple[stage_pb2.Technique.ValueType, ...]
) -> tuple[str, tuple[str, ...]]:
    """Return the rule and the kinds of grader, the deciding one first.

    What the person asked for comes before what the task suggests.

    Args:
        evidence: The data, and what was said.
        task: A `Task`, or empty while unknown.
        techniques: Of the stages.
    """
    rule, kinds = _suggested(evidence, task, techniques)
    if evidence.has(Signal.REWARD_IS_FORM):
        kinds += FORM[1]
    if evidence.brief.output_kind == "json" and "exact_json" not in kinds:
        kinds += ("json_schema",)
    kinds = tuple(dict.fromkeys((*evidence.brief.grader_kinds, *kinds)))
    answers = evidence.shape == Shape.DEMONSTRATIONS and evidence.dataset is not None
    if answers and not evidence.are_records:
        # No answer of the file would pass them; the report wins over the words (rule C1).
        kinds = tuple(kind for kind in kinds if kind not in JSON_KINDS) or ("exact_match",)
    return rule, kinds


def _suggested(
    evidence: Evidence, task: str, techniques: tuple[stage_pb2.Technique.ValueType, ...]
) -> tuple[str, tuple[str, ...]]:
    if DPO in techniques or evidence.shape in (Shape.PAIRS, Shape.RATINGS):
        return PREFERENCE
    if RLAIF in techniques:
        return RUBRIC
    answers = evidence.shape == Shape.DEMONSTRATIONS and evidence.dataset is not None
    if answers and evidence.are_records and task not in NOT_RECORDS:
        return "G2", ("exact_json",) + (("macro_f1",) if evidence.has_labels else ())
    if task:
        rule, kinds = BY_TASK[Task(task)]
        if RLVR in techniques and rule in JUDGED_RULES:
            return "G9", ("exact_match", "numeric")
        if evidence.shape in (Shape.PROMPTS, Shape.PAIRS):
            kept = tuple(kind for kind in kinds if kind not in NEED_REFERENCES)
            kinds = kept or kinds
        return rule, kinds
    if evidence.has_labels:
        return BY_TASK[Task.CLASSIFICATION]
    if answers and evidence.report.max_answer_token_count > SHORT_ANSWER_TOKENS:
        return "G3", ("text_similarity", "score_model")
    return "G1", ("exact_match",)
