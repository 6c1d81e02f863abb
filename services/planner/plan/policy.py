"""What is still unknown, and whether it is worth a question (rule Q1)."""

from __future__ import annotations

from dataclasses import dataclass

from services.planner.brief import (
    DATASET_PATH,
    PROBLEM_PATH,
    QUESTIONS_MAX,
    TARGET_PATH,
    Brief,
)
from services.planner.dataset.facts import DatasetFacts
from services.planner.plan.decision import Decision
from services.planner.plan.evidence import Evidence
from services.planner.plan.verdict import FINE_TUNE, RETRIEVE
from services.planner.vocabulary import Shape, Signal

OBJECTIVE = "objective"
DATA = "data"
SUCCESS_METRIC = "success_metric"
CONSTRAINTS = "constraints"
AUDIENCE = "audience"
TOPICS = (OBJECTIVE, DATA, SUCCESS_METRIC, CONSTRAINTS, AUDIENCE)
CONFLICT_PATH = "limits"
"""Field of the question which of two wishes wins."""
EXACT_GRADERS = frozenset({"exact_json", "exact_match", "macro_f1", "json_schema"})
"""Checks that give a share of right answers, of which a person can say how many are enough."""
TARGET_OPTIONS = ("0.7", "0.8", "0.9", "planner_decides")
DATA_OPTIONS = ("attach", "describe", "none")
TELLING_WORDS_LEAST = 10
"""Words from which a message that comes with rows is taken to say what they are for."""
SETTLED_RULES = frozenset({"V2", "V3", "V9", "V5", "V6b", "V6c", "V6d", "V8"})
"""Verdicts that no answer about objective or data turns, for they rest on what was said."""


@dataclass(frozen=True)
class Question:
    """One decision that the plan depends on; its words come from the narration."""

    topic: str
    """One of TOPICS."""
    field_path: str
    """Which field of the spec it decides."""
    options: tuple[str, ...] = ()
    """Keys of answers to choose from; free text is taken too."""


def next_question(
    brief: Brief, decision: Decision, dataset: DatasetFacts | None
) -> Question | None:
    """Return the one question to ask now, or None when no answer would change the plan.

    At most three are asked in a conversation, one at a time. Nothing is asked about
    infrastructure, nor what was said, nor what the dataset shows, nor once the verdict rests on
    what was said.

    Args:
        brief: What is known.
        decision: What follows from it.
        dataset: The rows to learn from, if they are attached.
    """
    if len(brief.questions) >= QUESTIONS_MAX:
        return None
    if decision.recommendation is None:
        greeted = decision.notes and decision.notes[0].code == "capability_explained"
        return Question(OBJECTIVE, PROBLEM_PATH) if greeted else None
    evidence = Evidence(brief, dataset)
    if not brief.problem and not (dataset and _is_described(brief)):
        return Question(OBJECTIVE, PROBLEM_PATH)
    if _is_settled(evidence, decision):
        return None
    candidates = (_objective(evidence), _data(evidence), _conflict(evidence, decision))
    for question in (*candidates, _target(evidence, decision)):
        if question and question.field_path not in brief.questions:
            return question
    return None


def _is_settled(evidence: Evidence, decision: Decision) -> bool:
    if decision.rules[0] == "V3" and not evidence.is_known:
        return False
    if decision.rules[0] in SETTLED_RULES:
        return True
    return decision.rules[0] == "V6a" and evidence.has(Signal.ONE_OFF)


def _objective(evidence: Evidence) -> Question | None:
    """Ask what goes in and what comes out when neither the words nor any rows tell."""
    brief = evidence.brief
    telling = len(brief.problem.split()) >= TELLING_WORDS_LEAST and evidence.dataset is not None
    if brief.task or _is_described(brief) or telling:
        return None
    return Question(OBJECTIVE, PROBLEM_PATH)


def _is_described(brief: Brief) -> bool:
    """Return whether the words say what there is to learn from, or how."""
    shape = brief.data_shape if brief.data_shape != Shape.NONE else ""
    return bool(shape or brief.technique or brief.data_row_count or brief.text_megabytes)


def _data(evidence: Evidence) -> Question | None:
    """Ask for examples while none were mentioned, or for what is open: their kind or number."""
    counted = evidence.rows is not None or evidence.shape == Shape.TEXT
    described = evidence.dataset is not None or (bool(evidence.shape) and counted)
    return None if described else Question(DATA, DATASET_PATH, DATA_OPTIONS)


def _conflict(evidence: Evidence, decision: Decision) -> Question | None:
    """Ask which of two wishes wins, unless the data have settled it already (rule T8)."""
    conflicts = [each for each in decision.notes if each.code == "conflict_named"]
    if not conflicts or conflicts[0].rule == "T8" or decision.recommendation == RETRIEVE:
        return None
    return Question(CONSTRAINTS, CONFLICT_PATH)


def _target(evidence: Evidence, decision: Decision) -> Question | None:
    """Ask for the target where a share of right answers decides and nothing was said of it."""
    brief = evidence.brief
    said = brief.target is not None or brief.target_delegated or brief.base_success is not None
    measured = brief.grader_kinds or brief.criteria
    trains = decision.recommendation == FINE_TUNE and evidence.dataset is not None
    exact = decision.grader_kinds[:1] and decision.grader_kinds[0] in EXACT_GRADERS
    if said or measured or not trains or not exact:
        return None
    return Question(SUCCESS_METRIC, TARGET_PATH, TARGET_OPTIONS)
