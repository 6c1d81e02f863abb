"""The graders of a run, tried before a step is trained: the reward, and the one that decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from attune.spec.v1.grader_pb2 import Grader

from services.trainer.grading.build import JUDGED, build, kinds_of
from services.trainer.grading.multi import weighted
from services.trainer.grading.preflight import SAMPLES_MAX, Preflight, preflight
from services.trainer.grading.sample import Grade, Sample
from services.trainer.rows import Row, spread
from services.trainer.run import RunFailed
from services.trainer.run_context import RunContext, refused

JUDGED_SAMPLES_MAX = 12
"""Rows that are tried where a judge is asked: each costs several calls."""


def check_graders(context: RunContext, deciding: Grader) -> list[dict[str, Any]]:
    """Try the reward of the stage and the grader that decides, and say what is noteworthy.

    Args:
        context: The run.
        deciding: The grader of the first success criterion.

    Returns:
        What was found out about each, the deciding one first.

    Raises:
        RunFailed: With all that is wrong with one.
    """
    found = [_tried(context, [(deciding, 1.0)], deciding.name, context.split.holdout, None)]
    reward = [(each.grader, each.weight) for each in context.stage.reward.graders]
    if reward:
        judge = refused(partial(build, deciding))
        found.append(_tried(context, reward, "reward", context.split.train, judge))
    return [asdict(each) for each in found]


def _tried(
    context: RunContext,
    graders: Sequence[tuple[Grader, float]],
    name: str,
    rows: Sequence[Row],
    other: Grade | None,
) -> Preflight:
    context.check()
    kinds = set().union(*(kinds_of(grader) for grader, _ in graders))
    count = JUDGED_SAMPLES_MAX if kinds & set(JUDGED) else SAMPLES_MAX
    taken = [rows[index] for index in spread(rows, count)]
    result = preflight(
        name,
        _built(graders, fresh=False),
        [_with_reference(row) for row in taken],
        again=_built(graders, fresh=True),
        other=other,
        references_are_answers=all(row.is_answered for row in taken),
    )
    for notice in result.notices:
        context.attempt.say(notice)
    if result.problems:
        raise RunFailed("GRADER_UNFIT", " ".join(result.problems))
    return result


def _with_reference(row: Row) -> Sample:
    return row.sample(row.reference)


def _built(graders: Sequence[tuple[Grader, float]], *, fresh: bool) -> Grade:
    parts = [
        (grader.name, weight, refused(partial(build, grader, fresh=fresh)))
        for grader, weight in graders
    ]
    return parts[0][2] if len(parts) == 1 else weighted(parts)
