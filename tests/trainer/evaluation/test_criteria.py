"""Success criteria on unseen rows: means, and F1 by label."""

import pytest
from attune.spec.v1.spec_pb2 import Spec, SuccessCriterion

from services.trainer.evaluation.criteria import criterion_scores
from services.trainer.evaluation.grades import score_rows
from tests.trainer.evaluation.test_labels import CHECK, EXACT, answered

GRADERS = {"exact_match": EXACT}


def a_spec(*criteria: SuccessCriterion) -> Spec:
    spec = Spec()
    spec.objective.success_criteria.extend(criteria)
    spec.evaluation.graders.append(CHECK)
    return spec


def scores(spec, references, base, tuned):
    rows = answered(references)
    both = (score_rows(GRADERS, rows, list(said), list(base)) for said in (base, tuned))
    return criterion_scores(spec, GRADERS, *both)


def test_each_criterion_is_scored_for_base_and_tuned_model_in_order():
    spec = a_spec(
        SuccessCriterion(title="Right", metric="exact_match", target=0.7),
        SuccessCriterion(
            title="F1", metric="exact_match", aggregate=SuccessCriterion.AGGREGATE_MACRO_F1
        ),
    )
    mean, by_label = scores(spec, "aaab", "bbbb", "aaaa")
    assert (mean.base_score, mean.tuned_score, mean.target, mean.met) == (0.25, 0.75, 0.7, True)
    assert (by_label.title, by_label.aggregate) == ("F1", "macro_f1")
    assert by_label.tuned_score == pytest.approx(3 / 7)
    assert not by_label.HasField("target")
    assert not by_label.met


def test_less_may_be_better():
    lower = SuccessCriterion(
        metric="exact_match", target=0.5, direction=SuccessCriterion.DIRECTION_LOWER_IS_BETTER
    )
    (score,) = scores(a_spec(lower), "ab", "ab", "ax")
    assert score.met


def test_a_criterion_that_nobody_could_grade_is_left_out_and_not_scored_zero():
    spec = a_spec(SuccessCriterion(metric="judge"), SuccessCriterion(metric="exact_match"))
    (score,) = scores(spec, "ab", "ab", "ab")
    assert score.metric == "exact_match"
