"""Whether fine-tuning is the right answer: decision rules over the brief and the data."""

from __future__ import annotations

import re

from attune.spec.v1 import spec_pb2

from services.planner.brief import Brief
from services.planner.dataset.facts import DatasetFacts

TRAIN_ROWS_MIN = 50
"""OpenAI's advice: start with 50 well-made demonstrations; fewer show nothing."""
HOLDOUT_ROWS_MIN = 20
"""Below this the interval of any score spans most of the scale."""
OVERLAP_SHARE_MAX = 0.05
FACTS = re.compile(
    r"\b(?:up[- ]to[- ]date|latest|newest|today'?s|current (?:price|stock|news)\w*|"
    r"cite (?:the )?(?:source|document)s?|look(?:s|ing)? up|knowledge base)\b",
    re.I,
)
UNSETTLED = re.compile(r"\b(?:one[- ]off|prototype|just (?:try|play)\w*|experiment with)\b", re.I)

BASE_RULES = ("D1", "D2", "D6", "D7", "D9", "D10", "D13")
"""Evaluation first; prompting is measured by the baseline; demonstrations call for SFT, one right
answer each; LoRA before all weights, for it matches them at this size; look again later."""


def decide_verdict(
    brief: Brief, dataset: DatasetFacts, train_row_count: int, holdout_row_count: int
) -> spec_pb2.Verdict:
    """Return the advice, its reason and the rules that fired (D1 to D14 of the decision table).

    Args:
        brief: What is known of the task.
        dataset: The rows to learn from.
        train_row_count: Rows left for training.
        holdout_row_count: Rows that are held out.
    """
    report = dataset.report
    if train_row_count < TRAIN_ROWS_MIN:
        text = (
            f"There are {train_row_count} rows to learn from; write at least {TRAIN_ROWS_MIN} "
            "good ones before training."
        )
        return _verdict(spec_pb2.Verdict.RECOMMENDATION_COLLECT_DATA, text, "D14")
    if holdout_row_count < HOLDOUT_ROWS_MIN:
        text = (
            f"Only {holdout_row_count} rows are held out; with fewer than {HOLDOUT_ROWS_MIN} no "
            "difference can be told from chance."
        )
        return _verdict(spec_pb2.Verdict.RECOMMENDATION_COLLECT_DATA, text, "D1", "D14")
    if report.distinct_answer_count == 1:
        text = "Every row has the same answer, so there is nothing to learn; collect other cases."
        return _verdict(spec_pb2.Verdict.RECOMMENDATION_COLLECT_DATA, text, "D14")
    if report.holdout_overlap_count > OVERLAP_SHARE_MAX * report.row_count:
        text = (
            f"{report.holdout_overlap_count} rows also stand in the hold-out, so its score would "
            "be flattering; hold out rows that are never trained on."
        )
        return _verdict(spec_pb2.Verdict.RECOMMENDATION_COLLECT_DATA, text, "D1", "D14")
    if match := FACTS.search(brief.problem):
        text = (
            f"'{match[0]}' asks for facts that change; retrieve them at the time of the question "
            "instead of training them in."
        )
        return _verdict(spec_pb2.Verdict.RECOMMENDATION_RETRIEVE, text, "D3", "D14")
    if match := UNSETTLED.search(brief.problem):
        text = f"'{match[0]}' sounds unsettled; a better prompt is cheaper while the task changes."
        return _verdict(spec_pb2.Verdict.RECOMMENDATION_PROMPT_FIRST, text, "D2", "D4")
    text = (
        f"{train_row_count:,} rows show one right answer each: stable behaviour, which supervised "
        "fine-tuning teaches; the baseline will show whether prompting alone is enough."
    )
    return _verdict(spec_pb2.Verdict.RECOMMENDATION_FINE_TUNE, text, "D3", *BASE_RULES)


def _verdict(
    recommendation: spec_pb2.Verdict.Recommendation.ValueType, reason: str, *rules: str
) -> spec_pb2.Verdict:
    ordered = sorted(set(rules), key=lambda rule: int(rule[1:]))
    return spec_pb2.Verdict(recommendation=recommendation, reason=reason, rules=ordered)
