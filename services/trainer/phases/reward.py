"""What a stage maximises: the weighted sum of its graders, for answers as token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attune.spec.v1 import stage_pb2

from services.trainer.data.rows import Row
from services.trainer.grading import multi
from services.trainer.grading.build import build
from services.trainer.grading.sample import Grade, Graded, Sample
from services.trainer.recipes.training import Reward
from services.trainer.run import Question, RunPaused
from services.trainer.runtime.run_context import RunContext

FAILED_SHARE_MAX = 0.25
"""Share of the answers to one batch of prompts that may go without a reward. What is left of a
group then still holds three quarters of it; more, and steps follow from what happened to be
graded."""
REWARD_FAILING = "REWARD_FAILING"
"""Reason of the pause when that share is exceeded. It is about the surroundings, so it is asked
whenever it holds: nobody can waive it."""


def reward_of(context: RunContext) -> Reward:
    """Return the reward of the present stage for rows of the run.

    Raises:
        ServiceError: If a grader of it cannot be built here.
    """
    graded = weighted(context.stage.reward)
    split = context.split
    rows = {row.line: row for row in [*split.train, *split.validation]}

    def reward(lines: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float | None]:
        samples = samples_of(context, rows, lines, answers)
        found = graded(samples)
        check_failures(found)
        return [one.score for one in found]

    return reward


def samples_of(
    context: RunContext,
    rows: Mapping[int, Row],
    lines: Sequence[int],
    answers: Sequence[Sequence[int]],
) -> list[Sample]:
    """Return answers as graders take them.

    Args:
        context: The run.
        rows: By their lines.
        lines: Of the row that each answer answers.
        answers: Token ids of each.
    """
    return [
        rows[line].sample(context.renderer.text(list(token_ids)))
        for line, token_ids in zip(lines, answers, strict=True)
    ]


def weighted(reward: stage_pb2.Reward, *, fresh: bool = False) -> Grade:
    """Return the function that grades as the reward says.

    A sample that one of the graders cannot grade has no score: what the others gave is no reward.

    Args:
        reward: Of a stage.
        fresh: Whether judges are to be asked anew what they have said before.

    Raises:
        ServiceError: If a grader cannot be built here.
    """
    limit_s = reward.timeout_s if reward.HasField("timeout_s") else None
    return multi.weighted(
        [
            (one.grader.name, one.weight, build(one.grader, fresh=fresh, timeout_s=limit_s))
            for one in reward.graders
        ]
    )


def check_failures(found: Sequence[Graded]) -> None:
    """Pause when too many answers could not be graded.

    Raises:
        RunPaused: With what was wrong with the first one.
    """
    errors = [one.error for one in found if one.score is None]
    if len(errors) <= FAILED_SHARE_MAX * len(found):
        return
    text = (
        f"{len(errors)} of {len(found)} answers could not be graded, and at most "
        f"{FAILED_SHARE_MAX:.0%} may: {errors[0][:500]} An answer without a grade is no reward of "
        "0, so the run waits. Mend the grader or its endpoint and continue, or stop."
    )
    figures = {"answer_count": float(len(found)), "ungraded_count": float(len(errors))}
    raise RunPaused(Question(REWARD_FAILING, text, figures))
