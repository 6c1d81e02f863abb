"""What a run asks a person before it trains: whether the target is met without any training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attune.spec.v1.spec_pb2 import SuccessCriterion

from services.trainer.evaluation.deciding import deciding_grader
from services.trainer.run import Question, RunPaused
from services.trainer.runtime.run_context import RunContext

TARGET_MET = "TARGET_MET"
"""Reason of the pause when prompting reaches the target."""


def ask(context: RunContext, question: Question | None) -> None:
    """Pause the run with a question, unless there is none or a person has waived its reason.

    Raises:
        RunPaused: With the question.
    """
    if question is None:
        return
    if question.reason in context.manifest.waived_reasons:
        context.attempt.say(f"Goes on as decided. {question.message}")
        return
    raise RunPaused(question)


def ask_whether_prompting_is_enough(context: RunContext, base: Mapping[str, Any]) -> None:
    """Pause when the base meets the deciding target without training.

    A later stage has a base that was asked about in the first one, and does not ask again. Where
    pairs decide, there is nothing to ask: no prompt changes what a model holds of them.

    Args:
        context: The run.
        base: What BASELINE found.

    Raises:
        RunPaused: If it does and nobody has waived that.
    """
    if context.manifest.stage_index > 0 or deciding_grader(context).HasField("preference"):
        return
    criterion = context.spec.objective.success_criteria[0]
    ask(context, target_met(criterion, base["base_score"], base["few_shot_score"]))


def target_met(
    criterion: SuccessCriterion, base_score: float | None, few_shot_score: float | None
) -> Question | None:
    """Return the question whether to train at all; None while prompting misses the target.

    Args:
        criterion: The deciding one.
        base_score: Mean score of the base on the hold-out, as it is; None if nothing was graded.
        few_shot_score: The same with examples in the prompt.
    """
    scores = {"base_score": base_score, "few_shot_score": few_shot_score}
    known = {name: score for name, score in scores.items() if score is not None}
    if not criterion.HasField("target") or not known:
        return None
    lower = criterion.direction == SuccessCriterion.DIRECTION_LOWER_IS_BETTER
    best = min(known.values()) if lower else max(known.values())
    if best > criterion.target if lower else best < criterion.target:
        return None
    how = "as it is" if best == base_score else "with examples in the prompt"
    return Question(
        TARGET_MET,
        f"The base model {how} already scores {best:.3f} on the hold-out, and the target is "
        f"{criterion.target:.3f}: a prompt may be enough. Stop and use it, or continue to train.",
        {**known, "target": criterion.target},
    )
