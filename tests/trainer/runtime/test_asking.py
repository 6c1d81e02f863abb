"""When a run asks whether to train at all."""

import math

import pytest
from attune.scheduler.v1.worker_pb2 import Lease
from attune.spec.v1.spec_pb2 import SuccessCriterion

from services.scheduler.outcome import check_outcome
from services.trainer.run import Question
from services.trainer.runtime.asking import target_met
from services.trainer.wire import halt

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


def test_a_score_that_is_unknown_meets_nothing():
    assert target_met(SuccessCriterion(target=0.8), None, None) is None
    question = target_met(SuccessCriterion(target=0.8), None, 0.9)
    assert question.figures == {"few_shot_score": 0.9, "target": 0.8}


def test_where_less_is_better_less_meets_the_target():
    criterion = SuccessCriterion(target=0.2, direction=LOWER)
    assert target_met(criterion, 0.3, 0.25) is None
    question = target_met(criterion, 0.3, 0.1)
    assert "with examples in the prompt already scores 0.100" in question.message


def test_a_question_is_handed_in_within_the_bounds_that_it_has():
    figures = {"worst": math.nan, **{f"figure_{index}": float(index) for index in range(20)}}
    lease = Lease(run="projects/default/runs/a-s0", fence=1)
    request = halt(lease, Question("ODD", "x" * 3000, figures))
    check_outcome(request)
    assert len(request.question.figures) == 16
    assert request.question.figures[0].name == "figure_0"


def test_who_was_asked_to_halt_asks_nothing():
    request = halt(Lease(run="projects/default/runs/a-s0", fence=1), None)
    assert not request.HasField("question")
