"""From the brief and the reports to a decision: verdict, technique, graders, notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from attune.spec.v1 import spec_pb2, stage_pb2

from services.planner.brief import Brief
from services.planner.dataset.facts import DatasetFacts
from services.planner.plan.conflicts import conflicts, mismatches
from services.planner.plan.data_notes import data_notes
from services.planner.plan.evidence import FREE_TEXT_TASKS, Evidence
from services.planner.plan.grader_choice import choose_graders
from services.planner.plan.notices import Note, note
from services.planner.plan.sample import task_of_references
from services.planner.plan.technique import TechniqueChoice, choose_method, choose_technique
from services.planner.plan.verdict import FINE_TUNE, RETRIEVE, ROWS_HARD_LEAST, judge
from services.planner.plan.wish_notes import purpose_notes, wish_notes
from services.planner.vocabulary import Shape, Signal, Task

LABELLED_TASKS = frozenset({Task.CLASSIFICATION, Task.TOOL_CALLING})
"""Tasks whose answers may repeat as labels do, and stay what they were called."""
TASKS_OF_GRADERS = {
    "unit_tests": Task.CODE,
    "math": Task.MATH_REASONING,
    "numeric": Task.MATH_REASONING,
    "tool_call": Task.TOOL_CALLING,
    "macro_f1": Task.CLASSIFICATION,
}
"""Tasks that a check gives away."""
FREE_TEXT_TOKENS = 20
"""Mean length of an answer from which it is a text of its own rather than a label or a value."""
TRAINING_RULES = ("D9", "D10")
"""Adapters before all weights."""
STANDING_RULES = ("D1", "D2", "D13")
"""Evaluation first; the baseline measures prompting; look at the result again later."""


@dataclass(frozen=True)
class Decision:
    """What is to be done, and why."""

    recommendation: spec_pb2.Verdict.Recommendation.ValueType | None
    """None when no plan may exist (rule V1)."""
    rules: tuple[str, ...]
    """Which fired, the verdict's first."""
    reason: str
    """One sentence with figures."""
    instead: tuple[str, ...] = ()
    """What to do instead of training; empty when training."""
    would_change: tuple[str, ...] = ()
    """What would change the advice."""
    techniques: tuple[stage_pb2.Technique.ValueType, ...] = ()
    """One per stage, in order; empty when nothing is trained."""
    method: stage_pb2.Method.ValueType = stage_pb2.METHOD_LORA
    """LoRA unless said otherwise."""
    technique_reason: str = ""
    """One sentence."""
    technique_origin: str = ""
    """The rule, such as `rule T2: pairs`."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Techniques and methods that are not proposed, each with the reason."""
    grader_kinds: tuple[str, ...] = ()
    """The deciding one first."""
    task: str = ""
    """A `Task`; empty while unknown."""
    notes: tuple[Note, ...] = ()
    """What to point out."""


def decide(brief: Brief, dataset: DatasetFacts | None, holdout: DatasetFacts | None) -> Decision:
    """Return the decision; the same brief and reports give the same one.

    Args:
        brief: All that was said.
        dataset: The rows to learn from; None while they are only described.
        holdout: The rows that are held out; None when a share of the others is.
    """
    evidence = Evidence(brief, dataset, holdout)
    choice = choose_technique(evidence)
    rule, advice = judge(evidence, choice)
    if advice.recommendation is None:
        notes = (*purpose_notes(evidence), *_unsafe_wishes(evidence))
        return Decision(None, (rule.id,), advice.reason, notes=notes)
    trains = advice.recommendation == FINE_TUNE
    insists = evidence.has(Signal.INSISTS) and (evidence.rows or 0) >= ROWS_HARD_LEAST
    task = _task(evidence, advice.recommendation)
    grader_rule, graders = choose_graders(evidence, task, choice.techniques)
    notes = (
        *conflicts(evidence, choice),
        *mismatches(evidence),
        *wish_notes(evidence, choice, rule, advice),
        *data_notes(evidence, choice, trains=trains or rule.id == "V8"),
    )
    fired = [rule.id, *rule.sources]
    if choice.techniques and (trains or insists):
        fired += ["" if dataset else "C1", choice.rule, *choice.sources, *TRAINING_RULES]
    method = choose_method(evidence)
    techniques, technique_reason = _chain(choice, method)
    return Decision(
        recommendation=advice.recommendation,
        rules=_ordered(rule.id, [*fired, grader_rule, *STANDING_RULES]),
        reason=advice.reason,
        instead=advice.instead,
        would_change=advice.would_change,
        techniques=techniques if trains or insists else (),
        method=method,
        technique_reason=technique_reason,
        technique_origin=choice.origin,
        rejected=choice.rejected,
        grader_kinds=graders,
        task=task,
        notes=_once(notes),
    )


def _chain(
    choice: TechniqueChoice, method: stage_pb2.Method.ValueType
) -> tuple[tuple[stage_pb2.Technique.ValueType, ...], str]:
    """Return the techniques that a method allows, and why; one stage where all weights learn."""
    if method != stage_pb2.METHOD_FULL or len(choice.techniques) < 2:
        return choice.techniques, choice.reason
    reason = f"{choice.reason} It ends after the first stage: a chain trains one adapter."
    return choice.techniques[:1], reason


def _task(evidence: Evidence, recommendation: spec_pb2.Verdict.Recommendation.ValueType) -> str:
    """Return the task: what was said, unless the verdict or the answers show another."""
    said = evidence.brief.task
    if evidence.has_labels and said not in LABELLED_TASKS:
        records = said == Task.EXTRACTION and evidence.are_records
        return Task.EXTRACTION if records else Task.CLASSIFICATION
    if said in FREE_TEXT_TASKS or not said:
        said = task_of_references(evidence.report) or said
    if said in (Task.GENERATION, None, "") and evidence.dataset and evidence.are_records:
        return Task.EXTRACTION
    if recommendation == RETRIEVE and not (said == Task.DIALOGUE and evidence.dataset):
        return Task.QUESTION_ANSWERING
    return said or _task_shown(evidence)


def _task_shown(evidence: Evidence) -> str:
    """Return the task that the rest shows when the words name none; empty when nothing does."""
    if evidence.has_labels:
        return Task.CLASSIFICATION
    if evidence.report.format == "tool_calls":
        return Task.TOOL_CALLING
    for kind in evidence.brief.grader_kinds:
        if kind in TASKS_OF_GRADERS:
            return TASKS_OF_GRADERS[kind]
    report = evidence.report
    free = report.mean_answer_token_count >= FREE_TEXT_TOKENS and report.json_answer_share < 1
    if evidence.shape in (Shape.PAIRS, Shape.RATINGS, Shape.PROMPTS, Shape.TEXT):
        return Task.GENERATION
    described = evidence.dataset is None and evidence.shape == Shape.DEMONSTRATIONS
    return Task.GENERATION if free or described else ""


def _unsafe_wishes(evidence: Evidence) -> list[Note]:
    """Return what a declined request tried besides."""
    claimed = evidence.has(Signal.CLAIMED_AUTHORITY)
    return [note("injection_ignored")] if claimed else []


def _ordered(first: str, rules: Iterable[str]) -> tuple[str, ...]:
    """Return rules once each: the verdict's, then by letter (C, T, G, D) and number."""
    others = sorted(
        {rule for rule in rules if rule and rule != first},
        key=lambda rule: ("CTGD".index(rule[0]), int("".join(filter(str.isdigit, rule)))),
    )
    return (first, *others)


def _once(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Return notes without those that say again, of the same words, what an earlier one did."""
    kept: dict[tuple[str, str], Note] = {}
    for each in notes:
        kept.setdefault((each.code, each.values.get("said", "")), each)
    return tuple(kept.values())
