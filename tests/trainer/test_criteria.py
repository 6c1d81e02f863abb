"""Success criteria on unseen rows: means, and F1 by label."""

import pytest
from attune.spec.v1.grader_pb2 import Grader, StringCheckGrader
from attune.spec.v1.spec_pb2 import Spec, SuccessCriterion
from services.trainer.criteria import criterion_scores, macro_f1

from services.common.errors import InvalidArgument
from services.trainer.grading.build import build
from services.trainer.rows import Row

CHECK = Grader(
    name="exact_match",
    string_check=StringCheckGrader(
        input="{{sample.output_text}}",
        reference="{{item.reference}}",
        operation=StringCheckGrader.OPERATION_EQ,
    ),
)
EXACT = build(CHECK)


def answered(references):
    return [Row(1, [{"role": "assistant", "content": text}]) for text in references]


@pytest.mark.parametrize(
    ("references", "answers", "expected"),
    [
        ("aabb", "aabb", 1.0),
        ("aabb", "bbaa", 0.0),
        ("aaab", "aaaa", (6 / 7 + 0) / 2),
        ("aabb", "aaab", (4 / 5 + 2 / 3) / 2),
        ("ab", "xx", 0.0),
        ("a", "a", 1.0),
    ],
)
def test_every_label_counts_the_same(references, answers, expected):
    assert macro_f1(EXACT, answered(references), answers) == pytest.approx(expected)


def a_spec(*criteria: SuccessCriterion) -> Spec:
    spec = Spec()
    spec.objective.success_criteria.extend(criteria)
    spec.evaluation.graders.append(CHECK)
    return spec


def test_each_criterion_is_scored_for_base_and_tuned_model_in_order():
    spec = a_spec(
        SuccessCriterion(title="Right", metric="exact_match", target=0.7),
        SuccessCriterion(
            title="F1", metric="exact_match", aggregate=SuccessCriterion.AGGREGATE_MACRO_F1
        ),
    )
    mean, by_label = criterion_scores(spec, answered("aaab"), list("bbbb"), list("aaaa"))
    assert (mean.base_score, mean.tuned_score, mean.target, mean.met) == (0.25, 0.75, 0.7, True)
    assert (by_label.title, by_label.aggregate) == ("F1", "macro_f1")
    assert by_label.tuned_score == pytest.approx(3 / 7)
    assert not by_label.HasField("target")
    assert not by_label.met


def test_less_may_be_better():
    lower = SuccessCriterion(
        metric="exact_match", target=0.5, direction=SuccessCriterion.DIRECTION_LOWER_IS_BETTER
    )
    (score,) = criterion_scores(a_spec(lower), answered("ab"), ["a", "b"], ["a", "x"])
    assert score.met


def test_a_kind_that_the_trainer_does_not_have_is_not_made_up():
    spec = a_spec(SuccessCriterion(metric="judge"))
    spec.evaluation.graders.add(name="judge").score_model.model = "m"
    with pytest.raises(InvalidArgument):
        criterion_scores(spec, answered("a"), ["a"], ["a"])
