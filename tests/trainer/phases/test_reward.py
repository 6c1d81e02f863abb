"""What the reward of a stage makes of its graders, and of those that fail."""

import pytest
from attune.spec.v1.stage_pb2 import Reward

from services.common.errors import InvalidArgument
from services.trainer.grading.sample import Fault, Graded, Sample
from services.trainer.phases import reward as reward_module
from services.trainer.phases.reward import REWARD_FAILING, check_failures, weighted
from services.trainer.run import RunPaused
from tests.trainer import tiny_rl


def graded_by(monkeypatch, *weights_and_results):
    """Return the grade of a reward whose graders give what is said."""
    results = {}
    spec = Reward()
    for index, (weight, given) in enumerate(weights_and_results):
        name = f"g{index}"
        results[name] = given
        spec.graders.add(weight=weight).grader.name = name
    monkeypatch.setattr(reward_module, "build", lambda grader, **_: lambda _: results[grader.name])
    return weighted(spec)([Sample(""), Sample("")])


def test_a_reward_is_the_weighted_sum_of_its_graders(monkeypatch):
    found = graded_by(
        monkeypatch, (0.75, [Graded(1.0), Graded(0.0)]), (0.25, [Graded(0.5), Graded(1.0)])
    )
    assert [one.score for one in found] == [0.875, 0.25]


def test_a_sample_that_one_grader_cannot_grade_has_no_reward_at_all(monkeypatch):
    failed = Graded(None, "The judge does not answer.", Fault.MODEL_SERVER)
    found = graded_by(monkeypatch, (0.5, [Graded(1.0), Graded(1.0)]), (0.5, [failed, Graded(0.0)]))
    assert [one.score for one in found] == [None, 0.5]
    assert "The judge does not answer." in found[0].error


def test_a_grader_that_cannot_be_built_is_refused():
    spec = Reward()
    spec.graders.add(weight=1.0).grader.name = "nothing"
    with pytest.raises(InvalidArgument):
        weighted(spec)


@pytest.mark.parametrize(("spec", "limit_s"), [(Reward(), None), (Reward(timeout_s=2.0), 2.0)])
def test_the_limit_of_a_reward_is_that_of_its_graders(monkeypatch, spec, limit_s):
    limits = []
    monkeypatch.setattr(reward_module, "build", lambda _, **named: limits.append(named))
    spec.graders.add(grader=tiny_rl.equals_reference(), weight=1.0)
    weighted(spec)
    assert limits == [{"fresh": False, "timeout_s": limit_s}]


def test_weights_of_real_graders_are_used():
    spec = Reward()
    spec.graders.add(grader=tiny_rl.equals_reference(), weight=0.5)
    found = weighted(spec)([Sample("red", {"reference": "red"}), Sample("x", {"reference": "red"})])
    assert [one.score for one in found] == [0.5, 0.0]


def failing(count: int, of: int) -> list[Graded]:
    return [
        Graded(None, "Nobody answers.") if index < count else Graded(1.0) for index in range(of)
    ]


def test_a_few_failures_are_borne_and_many_pause_the_run_with_their_reason():
    check_failures(failing(2, 8))
    with pytest.raises(RunPaused) as caught:
        check_failures(failing(3, 8))
    question = caught.value.question
    assert question.reason == REWARD_FAILING
    assert question.figures == {"answer_count": 8.0, "ungraded_count": 3.0}
    assert "3 of 8 answers could not be graded" in question.message
    assert "Nobody answers." in question.message
