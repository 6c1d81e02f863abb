"""Graders that ask a model: found wherever they stand, and told of where there is none to ask."""

import pytest
from attune.spec.v1.grader_pb2 import Grader, LabelModelGrader, WinRateGrader

from services.planner.approval import bars
from services.planner.plan.judged import judge_notes, judged_fields, lack_of_judge
from tests.planner.plans import a_spec, facts

JUDGE = Grader(name="taste", win_rate=WinRateGrader(model="judge", criteria="Shorter."))


@pytest.fixture
def spec():
    """A plan with a judge in its evaluation, in a reward, and within a formula."""
    made = a_spec()
    made.evaluation.graders.append(JUDGE)
    formula = made.evaluation.graders.add(name="both")
    formula.multi.graders.append(made.evaluation.graders[0])
    formula.multi.graders.append(
        Grader(name="fits", label_model=LabelModelGrader(model="judge", labels=["pass"]))
    )
    made.stages[0].reward.graders.add(weight=1).grader.CopyFrom(JUDGE)
    return made


def test_judges_are_found_in_evaluation_reward_and_formulas(spec):
    last = len(spec.evaluation.graders) - 1
    assert judged_fields(spec) == {
        f"evaluation.graders.{last - 1}": "win_rate",
        f"evaluation.graders.{last}.multi.graders.1": "label_model",
        "stages.0.reward.graders.0.grader": "win_rate",
    }


def test_a_plan_without_judges_needs_none():
    assert judged_fields(a_spec()) == {}
    assert lack_of_judge(a_spec()) == ""
    assert judge_notes(a_spec(), has_judge=False) == []


def test_only_a_trainer_that_surely_has_none_stands_in_the_way(spec):
    for has_judge in (True, None):
        assert judge_notes(spec, has_judge) == []
        assert bars(spec, facts(), facts("b2"), has_judge=has_judge) == []
    (noted,) = judge_notes(spec, has_judge=False)
    assert (noted.code, noted.values["graders"]) == ("no_judge", "win_rate, label_model")
    (bar,) = bars(spec, facts(), facts("b2"), has_judge=False)
    assert bar.reason == "NO_JUDGE"
    for needed in (*judged_fields(spec), "ATTUNE_JUDGE_BASE_URL", "choose graders that need none"):
        assert needed in bar.text


def test_a_plan_that_trains_nothing_asks_no_judge(spec):
    del spec.stages[:]
    assert judge_notes(spec, has_judge=False) == []
    assert "NO_JUDGE" not in [bar.reason for bar in bars(spec, facts(), None, has_judge=False)]
