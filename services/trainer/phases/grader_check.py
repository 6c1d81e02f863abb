"""The graders of a run, tried before a step is trained: the reward, and the one that decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from attune.spec.v1.grader_pb2 import Grader

from services.trainer.data.rows import Row, spread
from services.trainer.grading.build import JUDGED, build, kinds_of
from services.trainer.grading.preflight import SAMPLES_MAX, Preflight, preflight
from services.trainer.grading.sample import Grade
from services.trainer.phases.reward import weighted
from services.trainer.run import RunFailed
from services.trainer.runtime.run_context import RunContext, refused

JUDGED_SAMPLES_MAX = 12
"""Rows that are tried where a judge is asked: each costs several calls."""


def check_graders(context: RunContext, deciding: Grader) -> list[dict[str, Any]]:
    """Try the reward of the stage and the grader that decides, and say what is noteworthy.

    Args:
        context: The run.
        deciding: The grader of the first success criterion.

    Returns:
        What was found out about each, the deciding one first; one that compares pairs by the model
        itself has nothing to try but that there are pairs.

    Raises:
        RunFailed: With all that is wrong with one.
    """
    _check_pairs(context)
    decide = None if deciding.HasField("preference") else partial(build, deciding)
    found = []
    if decide is not None:
        found.append(_tried(context, deciding.name, [deciding], decide, context.split.holdout))
    reward = context.stage.reward
    if reward.graders:
        graders = [each.grader for each in reward.graders]
        judge = None if decide is None else refused(decide)
        make = partial(weighted, reward)
        found.append(_tried(context, "reward", graders, make, context.split.train, judge))
    return [asdict(each) for each in found]


def _check_pairs(context: RunContext) -> None:
    """Refuse graders that compare pairs where a held-out row is none."""
    names = [one.name for one in context.spec.evaluation.graders if one.HasField("preference")]
    if not names:
        return
    for row in context.split.holdout:
        if not row.rejected:
            raise RunFailed(
                "NOT_A_PAIR",
                f"Grader '{names[0]}' compares the answers of pairs, and line {row.line} of the "
                "held-out rows is none. Hold out rows with `chosen` and `rejected` answers, or "
                "choose another grader.",
            )


def _tried(
    context: RunContext,
    name: str,
    graders: Sequence[Grader],
    make: Callable[..., Grade],
    rows: Sequence[Row],
    other: Grade | None = None,
) -> Preflight:
    """Try what `make` returns on some rows; with `fresh`, it asks judges anew."""
    context.check()
    kinds = set().union(*map(kinds_of, graders))
    count = JUDGED_SAMPLES_MAX if kinds & set(JUDGED) else SAMPLES_MAX
    taken = [rows[index] for index in spread(rows, count)]
    result = preflight(
        name,
        refused(make),
        [row.sample(row.reference) for row in taken],
        again=refused(partial(make, fresh=True)),
        other=other,
        references_are_answers=all(row.is_answered for row in taken),
    )
    for notice in result.notices:
        context.attempt.say(notice)
    if result.problems:
        raise RunFailed("GRADER_UNFIT", " ".join(result.problems))
    return result
