"""What every success criterion of a spec came to; pure."""

from __future__ import annotations

from collections.abc import Mapping

from attune.spec.v1.evaluation_pb2 import CriterionScore
from attune.spec.v1.spec_pb2 import Spec, SuccessCriterion

from services.trainer.evaluation.grades import Scored
from services.trainer.evaluation.labels import labelling, macro_f1
from services.trainer.grading.sample import Grade

MEAN, MACRO_F1 = "mean", "macro_f1"


def criterion_scores(
    spec: Spec, graders: Mapping[str, Grade], base: Scored, tuned: Scored
) -> list[CriterionScore]:
    """Return the score of each criterion, in their order.

    A criterion whose grader could score no answer of one of the two is left out.

    Args:
        spec: Every criterion names one of its graders.
        graders: By name.
        base: Answers of the base to at least one row.
        tuned: The tuned model's, to the same rows.
    """
    found = []
    for criterion in spec.objective.success_criteria:
        scores = [_score(criterion, graders, one) for one in (base, tuned)]
        if scores[0] is None or scores[1] is None:
            continue
        one = CriterionScore(
            title=criterion.title,
            metric=criterion.metric,
            aggregate=MACRO_F1 if _is_by_label(criterion) else MEAN,
            base_score=scores[0],
            tuned_score=scores[1],
        )
        if criterion.HasField("target"):
            lower = criterion.direction == SuccessCriterion.DIRECTION_LOWER_IS_BETTER
            one.target = criterion.target
            one.met = scores[1] <= one.target if lower else scores[1] >= one.target
        found.append(one)
    return found


def _score(
    criterion: SuccessCriterion, graders: Mapping[str, Grade], scored: Scored
) -> float | None:
    graded = scored.graded.get(criterion.metric)
    if graded is None or graded.mean is None:
        return None
    if _is_by_label(criterion):
        return macro_f1(labelling(graders[criterion.metric], *scored.known(criterion.metric)))
    return graded.mean


def _is_by_label(criterion: SuccessCriterion) -> bool:
    return criterion.aggregate == SuccessCriterion.AGGREGATE_MACRO_F1
