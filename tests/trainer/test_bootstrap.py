import pytest
from services.trainer.bootstrap import Judgement, compare

SETTINGS = {"resample_count": 2000, "confidence": 0.95, "seed": 1}


def test_a_clear_gain_is_better_and_its_interval_lies_above_zero():
    outcome = compare([0.0] * 50, [1.0] * 40 + [0.0] * 10, **SETTINGS)
    assert outcome.judgement is Judgement.BETTER
    assert outcome.difference == pytest.approx(0.8)
    assert 0.6 < outcome.interval_low < 0.8 < outcome.interval_high < 0.95


def test_a_clear_loss_is_worse():
    outcome = compare([1.0] * 40 + [0.0] * 10, [0.0] * 50, **SETTINGS)
    assert outcome.judgement is Judgement.WORSE
    assert outcome.interval_high < 0


def test_few_mixed_rows_cannot_tell():
    outcome = compare([1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0], **SETTINGS)
    assert outcome.judgement is Judgement.CANNOT_TELL
    assert outcome.interval_low <= 0 <= outcome.interval_high


def test_equal_scorings_cannot_tell_and_have_no_width():
    outcome = compare([1.0, 0.0], [1.0, 0.0], **SETTINGS)
    assert outcome.judgement is Judgement.CANNOT_TELL
    assert (outcome.interval_low, outcome.interval_high) == (0.0, 0.0)


def test_rows_are_paired():
    """All gains and losses cancel row by row, though the two lists hold the same scores."""
    base, tuned = [1.0] * 30 + [0.0] * 30, [0.0] * 30 + [1.0] * 30
    assert compare(base, tuned, **SETTINGS).difference == 0.0


def test_more_confidence_widens_the_interval():
    base, tuned = [0.0] * 40, [1.0] * 15 + [0.0] * 25
    narrow = compare(base, tuned, resample_count=4000, confidence=0.5, seed=1)
    wide = compare(base, tuned, resample_count=4000, confidence=0.99, seed=1)
    assert wide.interval_low < narrow.interval_low < narrow.interval_high < wide.interval_high


def test_drawing_in_batches_gives_all_resamples(monkeypatch):
    base, tuned = [0.0] * 30, [1.0] * 15 + [0.0] * 15
    whole = compare(base, tuned, resample_count=3000, confidence=0.9, seed=2)
    monkeypatch.setattr("services.trainer.bootstrap.CELLS_MAX", 100)
    pieces = compare(base, tuned, resample_count=3000, confidence=0.9, seed=2)
    assert pieces == whole
