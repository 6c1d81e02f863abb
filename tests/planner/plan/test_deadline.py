"""A deadline is a constraint: passes are given up for it, and that is said."""

import pytest
from attune.spec.v1 import spec_pb2

from services.planner.plan.deadline import EPOCHS_LEAST, fewer, fit_deadline
from services.planner.spec.edit import diff
from services.planner.spec.rules import violations
from tests.planner.plans import a_spec, choice_of

EPOCHS = "stages.0.hyperparameters.epoch_count"


def test_a_plan_within_its_deadline_or_without_one_stays_as_it_is():
    for spec, estimate_s in ((a_spec(), 9e9), (a_spec(deadline_s=7200), 7200)):
        assert fit_deadline(spec, estimate_s) == (spec, None)


def test_passes_are_given_up_and_named():
    spec = a_spec(deadline_s=7200)
    fitted, note = fit_deadline(spec, 14_400)
    assert [change.field_path for change in diff(spec, fitted)] == [EPOCHS]
    assert fitted.stages[0].hyperparameters.epoch_count == 4
    assert (note.code, note.rule) == ("deadline_fitted", "R4")
    assert note.values == {"hours": "2", "before": "11", "after": "4"}
    assert violations(fitted) == []
    choice = choice_of(fitted, EPOCHS)
    assert (choice.source, choice.recommended) == (spec_pb2.Choice.SOURCE_RULE, "11")


def test_passes_that_were_said_are_given_up_too_for_the_later_wish():
    spec = a_spec(deadline_s=7200, overrides={EPOCHS: 3})
    fitted, _ = fit_deadline(spec, 10_000)
    assert fitted.stages[0].hyperparameters.epoch_count == 1.9
    assert "you had said 3" in choice_of(fitted, EPOCHS).reason


def test_what_cannot_be_met_is_said():
    spec = a_spec(deadline_s=60, overrides={EPOCHS: EPOCHS_LEAST})
    same, note = fit_deadline(spec, 36_000)
    assert same == spec
    assert (note.code, note.values["estimate"]) == ("deadline_missed", "10")


@pytest.mark.parametrize(
    ("epochs", "share", "left"),
    [(11, 0.5, 5), (3, 0.5, 1.5), (3, 0.7, 2), (1, 0.33, 0.3), (1, 0.01, 0.25), (0.25, 0.5, 0.25)],
)
def test_passes_shrink_to_round_numbers_and_not_to_nothing(epochs, share, left):
    assert fewer(epochs, share) == left
