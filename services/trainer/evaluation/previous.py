"""A later stage against the one before it, by the deciding grader on the same rows."""

from __future__ import annotations

from attune.spec.v1.evaluation_pb2 import EvaluationReport, PreviousStage
from attune.spec.v1.spec_pb2 import SuccessCriterion

from services.trainer.evaluation.baseline import BASE
from services.trainer.evaluation.bootstrap import Figure, Resampling
from services.trainer.evaluation.comparison import TUNED, deciding_figures
from services.trainer.evaluation.deciding import decides_by_label, deciding_grader
from services.trainer.evaluation.grades import Scored, paired
from services.trainer.evaluation.mcnemar import changed_count
from services.trainer.evaluation.verdict import VERDICTS, by_interval, may_be_chance
from services.trainer.grading.sample import Grade
from services.trainer.runtime.run_context import RunContext


def compare_with_previous(
    context: RunContext, grade: Grade, before: Scored, tuned: Scored, how: Resampling
) -> PreviousStage:
    """Return how what a stage made compares with what it began with.

    Args:
        context: The run, of a later stage.
        grade: The deciding grader.
        before: The adapter of the stage before.
        tuned: What the stage made of it.
        how: The bootstrap.
    """
    name = deciding_grader(context).name
    figures = deciding_figures(
        grade,
        name,
        {BASE: before, TUNED: tuned},
        how,
        by_label=decides_by_label(context),
    )
    difference = figures["difference"]
    first = context.spec.objective.success_criteria[0]
    lower = first.direction == SuccessCriterion.DIRECTION_LOWER_IS_BETTER
    verdict = verdict_of(difference, lower_is_better=lower)
    _, scores, tuned_scores = paired(before.graded[name], tuned.graded[name])
    if may_be_chance(changed_count(scores, tuned_scores), how.confidence):
        verdict = EvaluationReport.VERDICT_CANNOT_TELL
    return PreviousStage(
        adapter_sha256=context.manifest.base_adapter_sha256,
        score=figures[BASE].value,
        difference=difference.value,
        interval_low=difference.low,
        interval_high=difference.high,
        verdict=verdict,
    )


def verdict_of(difference: Figure, *, lower_is_better: bool) -> EvaluationReport.Verdict.ValueType:
    """Return on which side of zero the whole interval of a difference lies."""
    return VERDICTS[by_interval(difference, lower_is_better=lower_is_better)]
