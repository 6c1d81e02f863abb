import pytest
from attune.scheduler.v1 import scheduler_pb2

from services.trainer.run import Estimate, Phase


def test_phases_have_the_numbers_of_the_contract():
    ours = {f"PHASE_{phase.name}": int(phase) for phase in Phase}
    theirs = dict(scheduler_pb2.Phase.items())
    assert ours == {name: number for name, number in theirs.items() if number}


def test_before_anything_is_done_the_schedulers_estimate_counts_down():
    estimate = Estimate(train_s=60.0)
    assert estimate.remaining_s(Phase.VALIDATE, 0, 0, 1.0) == pytest.approx(60.0)
    assert estimate.remaining_s(Phase.TRAIN, 0, 100, 10.0) == pytest.approx(50.0)
    assert estimate.remaining_s(Phase.TRAIN, 0, 100, 99.0) == 0.0


def test_the_measured_pace_replaces_it_and_later_phases_are_added():
    estimate = Estimate(train_s=60.0)
    estimate.expect(Phase.EVALUATE, 5.0)
    # 10 of 40 steps in 8 s: 30 more take 24 s, then 5 s of evaluation.
    assert estimate.remaining_s(Phase.TRAIN, 10, 30, 8.0) == pytest.approx(29.0)
    assert estimate.remaining_s(Phase.EVALUATE, 1, 1, 2.0) == pytest.approx(2.0)
