"""What curves and evaluations speak for: each kind, and that nothing is said without figures."""

import pytest
from attune.spec.v1 import evaluation_pb2, spec_pb2, stage_pb2

from services.planner.suggestions import Ended, Point, suggest
from tests.planner.plans import a_spec

Report = evaluation_pb2.EvaluationReport
EPOCHS = "stages.0.hyperparameters.epoch_count"


def curve(*values: float, every: int = 10) -> list[Point]:
    return [Point(every * (index + 1), value) for index, value in enumerate(values)]


def a_report(**changes) -> Report:
    facts = {
        "holdout_row_count": 150,
        "base_score": 0.1,
        "few_shot_score": 0.2,
        "tuned_score": 0.8,
        "difference": 0.7,
        "interval_low": 0.6,
        "interval_high": 0.8,
        "verdict": Report.VERDICT_BETTER,
    }
    return Report(**{**facts, **changes})


def ended(report=None, newest=None, spec=None, **curves) -> Ended:
    spec = spec or a_spec()
    named = {name.replace("__", "/"): points for name, points in curves.items()}
    return Ended(spec, newest or spec, 0, report or a_report(), named)


def only(found, code: str):
    (suggestion,) = [each for each in suggest(found) if each.found.code == code]
    assert suggestion.found.evidence
    assert any(character.isdigit() for character in "".join(suggestion.found.evidence))
    return suggestion


def test_a_good_run_calls_for_nothing():
    assert suggest(ended(eval_loss=curve(2, 1, 0.9, 0.899), loss=curve(2, 1, 0.9, 0.9))) == []


def test_rising_validation_loss_beside_falling_training_loss_is_overfit():
    spec = a_spec()
    spec.stages[0].hyperparameters.epoch_count = 8
    loss = curve(2, 1.5, 1, 0.6, 0.3)
    found = only(ended(spec=spec, eval_loss=curve(2, 1, 1.1, 1.3, 1.6), loss=loss), "overfit")
    ((path, before, after, reason),) = found.changes
    assert (path, before, after) == (EPOCHS, "8", "3.2")
    assert reason
    assert found.spec.stages[0].hyperparameters.epoch_count == 3.2
    assert "step 20" in found.found.evidence[0]


def test_both_losses_rising_is_not_overfit():
    rising = curve(1, 1.1, 1.3, 1.6)
    codes = [each.found.code for each in suggest(ended(eval_loss=rising, loss=rising))]
    assert "overfit" not in codes


def test_a_loss_that_still_falls_wants_more_epochs_or_steps():
    falling = curve(2, 1.5, 1)
    found = only(ended(eval_loss=falling), "still_improving")
    assert found.changes[0][0] == EPOCHS
    spec = a_spec()
    spec.stages[0].hyperparameters.max_step_count = 30
    found = only(ended(spec=spec, eval_loss=falling), "still_improving")
    assert found.spec.stages[0].hyperparameters.max_step_count == 60
    spec.stages[0].hyperparameters.max_step_count = 9_000_000
    found = only(ended(spec=spec, eval_loss=falling), "still_improving")
    assert found.spec.stages[0].hyperparameters.max_step_count == 10_000_000


def test_a_difference_that_cannot_be_told_names_the_rows_that_would():
    report = a_report(
        tuned_score=0.15,
        few_shot_score=0.1,
        difference=0.05,
        interval_low=-0.05,
        interval_high=0.15,
        verdict=Report.VERDICT_CANNOT_TELL,
    )
    found = only(ended(report), "no_gain")
    assert "610" in found.found.title
    assert (found.changes, found.spec) == ((), None)


def test_a_worse_model_is_trained_more_gently():
    report = a_report(tuned_score=0.05, few_shot_score=0, verdict=Report.VERDICT_WORSE)
    found = only(ended(report), "worse_than_base")
    rate = a_spec().stages[0].hyperparameters.learning_rate
    assert found.spec.stages[0].hyperparameters.learning_rate == pytest.approx(rate / 3)


def test_lost_general_ability_asks_for_smaller_steps():
    report = a_report(
        verdict=Report.VERDICT_CANNOT_TELL, tuned_score=0.9, interval_low=0.2, interval_high=0.6
    )
    report.general_ability.is_lost, report.general_ability.summary = (
        True,
        "Loss rose from 3.0 to 4.1.",
    )
    found = only(ended(report), "ability_lost")
    assert found.found.evidence == ("Loss rose from 3.0 to 4.1.",)
    ((path, before, after, _),) = found.changes
    assert path == "stages.0.hyperparameters.learning_rate"
    assert float(after) < float(before)


def test_a_gain_that_is_not_trusted_is_not_called_none():
    report = a_report(verdict=Report.VERDICT_CANNOT_TELL, interval_low=0.2, interval_high=0.6)
    assert "no_gain" not in {one.found.code for one in suggest(ended(report))}


def test_below_a_few_shot_prompt_is_said():
    assert only(ended(a_report(few_shot_score=0.9)), "below_few_shot").spec is None


def examples(report: Report, *rows) -> Report:
    for reference, answer, score in rows:
        report.examples.add(reference=reference, tuned_answer=answer, tuned_score=score)
    return report


def test_one_answer_that_always_fails_is_named():
    rows = [("a", "b", 0)] * 3 + [("b", "b", 1)] * 5
    found = only(ended(examples(a_report(), *rows)), "one_class_failing")
    assert "'a'" in found.found.title


@pytest.mark.parametrize("answer", ["A long", '{"team": "bil'])
def test_answers_that_stop_in_the_middle_get_more_room(answer):
    reference = "A long answer." if answer[0] == "A" else '{"team": "billing"}'
    found = only(ended(examples(a_report(), *[(reference, answer, 0)] * 2)), "answers_cut")
    assert found.changes[0][0] == "evaluation.max_answer_tokens"


def rl_spec() -> spec_pb2.Spec:
    spec = a_spec()
    spec.stages[0].technique = stage_pb2.TECHNIQUE_RLVR
    spec.stages[0].hyperparameters.rl.max_completion_length = 100
    return spec


def test_clipped_samples_get_more_room():
    found = only(ended(spec=rl_spec(), completions__clipped_ratio=curve(0.1, 0.3)), "answers_cut")
    assert found.spec.stages[0].hyperparameters.rl.max_completion_length == 200


def test_a_reward_without_spread_is_saturated():
    curves = {"reward": curve(0.5, 0.96, 0.99, 0.99), "reward_std": curve(0.2, 0.1, 0.0, 0.0)}
    found = only(ended(spec=rl_spec(), **curves), "reward_saturated")
    assert found.changes[0][0] == EPOCHS
    assert "step 20" in found.found.evidence[-1]


def test_a_change_that_somebody_has_made_is_not_made_again():
    newest = a_spec()
    newest.stages[0].hyperparameters.epoch_count = 1.5
    found = only(ended(newest=newest, eval_loss=curve(2, 1.5, 1)), "still_improving")
    assert found.changes == ()


def test_a_job_without_a_report_is_read_by_its_curves_alone():
    spec = a_spec()
    found = suggest(Ended(spec, spec, 0, None, {"eval_loss": curve(2, 1.5, 1)}))
    assert [each.found.code for each in found] == ["still_improving"]
    assert suggest(Ended(spec, spec, 0, None, {})) == []
