"""When a run asks whether to train at all."""

import pytest
from attune.spec.v1.spec_pb2 import SuccessCriterion

from services.trainer.asking import target_met

LOWER = SuccessCriterion.DIRECTION_LOWER_IS_BETTER


@pytest.mark.parametrize(
    ("base", "few_shot", "how"),
    [(0.9, 0.1, "as it is"), (0.1, 0.9, "with examples"), (0.8, 0.8, "as it is")],
)
def test_a_target_that_prompting_reaches_is_asked_about(base, few_shot, how):
    question = target_met(SuccessCriterion(target=0.8), base, few_shot)
    assert question.reason == "TARGET_MET"
    assert how in question.message
    assert question.figures == {"base_score": base, "few_shot_score": few_shot, "target": 0.8}


def test_a_target_that_it_misses_and_no_target_at_all_are_not():
    assert target_met(SuccessCriterion(target=0.8), 0.79, 0.5) is None
    assert target_met(SuccessCriterion(), 1.0, 1.0) is None


def test_where_less_is_better_less_meets_the_target():
    criterion = SuccessCriterion(target=0.2, direction=LOWER)
    assert target_met(criterion, 0.3, 0.25) is None
    question = target_met(criterion, 0.3, 0.1)
    assert "with examples in the prompt already scores 0.100" in question.message
