"""BASELINE: what the base model reaches on the hold-out without any training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from services.trainer.data.rows import Row, most_frequent_answer
from services.trainer.evaluation.answers import Answers, few_shot_prompts, plain_prompts
from services.trainer.evaluation.deciding import decides_by_label, deciding_grader
from services.trainer.evaluation.general_ability import measure
from services.trainer.evaluation.grades import (
    Graded,
    Scored,
    builders,
    deciding_score,
    score_rows,
)
from services.trainer.evaluation.labels import labelling, macro_f1
from services.trainer.evaluation.leakage import Leakage, leakage
from services.trainer.evaluation.preferences import preference_before, with_preferences
from services.trainer.evaluation.text_loss import text_loss
from services.trainer.grading.sample import Grade
from services.trainer.run import Phase
from services.trainer.runtime.crash_points import CrashPoint, reach
from services.trainer.runtime.run_context import RunContext, refused

BASE, FEW_SHOT, MAJORITY = "base", "few_shot", "majority"
PREVIOUS = "previous"
"""The adapter of the stage before, in a later stage."""


def baseline(context: RunContext) -> dict[str, Any]:
    """Score the base on the hold-out: as it is, with examples, and the most frequent answer.

    Returns:
        Answers of each and their scores by grader, in the order of the rows that are scored, what
        the deciding grader makes of them, general ability, and the seconds of one pass.
    """
    rows, leaked = scored_rows(context)
    _say_leakage(context, leaked)
    answers = Answers(context, None)
    later = context.base_adapter is not None
    total = (3 if later else 2) * len(rows)
    begin_s = time.monotonic()
    base = answers.of(plain_prompts(context, rows), 0, total)
    pass_s = time.monotonic() - begin_s
    prompts, example_count = few_shot_prompts(context, rows, answers.generator.context_length)
    few_shot = answers.of(prompts, len(rows), total) if example_count else base
    reach(CrashPoint.BASELINE_ANSWERED)
    majority = most_frequent_answer(context.split.train)
    context.estimate.expect(Phase.EVALUATE, pass_s)
    graders = refused(lambda: builders(context.spec.evaluation.graders))
    given = {BASE: base, FEW_SHOT: few_shot, MAJORITY: [majority] * len(rows)}
    begun = answers
    if later:
        begun = Answers(context, context.base_adapter)
        given[PREVIOUS] = begun.of(plain_prompts(context, rows), 2 * len(rows), total)
    models = {BASE: answers.generator, PREVIOUS: begun.generator}
    scored = {
        who: with_preferences(context, score_rows(graders, rows, texts, base), models.get(who))
        for who, texts in given.items()
    }
    context.report(total, total)
    return {
        "base_answers": base,
        "few_shot_answers": few_shot,
        "few_shot_example_count": example_count,
        "majority_answer": majority,
        "graded": {
            who: {name: one.to_json() for name, one in found.graded.items()}
            for who, found in scored.items()
        },
        **{f"{who}_score": task_score(context, graders, one) for who, one in scored.items()},
        "general_ability": measure(context, answers.generator).to_json(),
        "pass_s": pass_s,
        "previous_answers": given.get(PREVIOUS, []),
        **text_loss(context, answers.generator),
        **preference_before(context, begun.generator),
    }


def task_score(context: RunContext, graders: Mapping[str, Grade], scored: Scored) -> float | None:
    """Return what the first success criterion makes of answers, in [0, 1].

    None where its grader compares pairs and the answers are of no model.

    Raises:
        ServiceError: If its grader could not grade a single one.
    """
    name = deciding_grader(context).name
    if name not in scored.graded:
        return None
    mean = deciding_score(scored, name)
    if decides_by_label(context):
        return macro_f1(labelling(graders[name], *scored.known(name)))
    return mean


def scored_of(base: Mapping[str, Any], who: str, rows: Sequence[Row]) -> Scored:
    """Return what BASELINE found of one of the three.

    Args:
        base: What `baseline` returned.
        who: BASE, FEW_SHOT, MAJORITY or, in a later stage, PREVIOUS.
        rows: What `scored_rows` returned.
    """
    answers = [base["majority_answer"]] * len(rows) if who == MAJORITY else base[f"{who}_answers"]
    graded = {name: Graded.from_json(one) for name, one in base["graded"][who].items()}
    return Scored(rows, answers, graded)


def scored_rows(context: RunContext) -> tuple[list[Row], Leakage]:
    """Return the hold-out rows that are scored, and what of the hold-out training knows."""
    split = context.split
    found = leakage([*split.train, *split.validation], split.holdout)
    return [split.holdout[index] for index in found.scored], found


def _say_leakage(context: RunContext, found: Leakage) -> None:
    if found.sentence:
        context.attempt.say(found.sentence)
