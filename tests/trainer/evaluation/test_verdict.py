"""Better, worse or cannot tell, and why."""

import math
from dataclasses import replace

import pytest
from attune.spec.v1.evaluation_pb2 import EvaluationReport
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.evaluation.bootstrap import Figure, Resampling, difference
from services.trainer.evaluation.mcnemar import changed_count
from services.trainer.evaluation.previous import verdict_of
from services.trainer.evaluation.verdict import Evidence, Judgement, by_interval, judge

GAIN = Evidence(
    row_count=100,
    ungraded_count=0,
    changed_count=40,
    base_score=0.4,
    tuned_score=0.6,
    difference=Figure(0.2, 0.1, 0.3),
    confidence=0.95,
    lower_is_better=False,
    target=None,
    few_shot_score=None,
    majority_score=0.1,
    leak_sentence="",
    lost_sentence="",
)


def test_a_gain_beyond_chance_is_better_and_says_so_with_its_figures():
    judgement, (reason,) = judge(GAIN)
    assert judgement is Judgement.BETTER
    for figure in ("100", "0.600", "0.400", "+0.200", "95 %", "+0.100", "+0.300"):
        assert figure in reason


@pytest.mark.parametrize(
    ("against", "words"),
    [
        ({"lost_sentence": "Loss rose by a third."}, "General ability was lost. Loss rose"),
        ({"leak_sentence": "All prompts are known."}, "All prompts are known. So this says little"),
        ({"ungraded_count": 12}, "12 of 112 rows could not be graded"),
    ],
)
def test_what_speaks_against_a_gain_makes_it_untold_and_is_said(against, words):
    judgement, reasons = judge(replace(GAIN, **against))
    assert judgement is Judgement.CANNOT_TELL
    assert any(words in reason for reason in reasons)


def test_nothing_turns_a_loss_into_something_better():
    loss = replace(GAIN, difference=Figure(-0.2, -0.3, -0.1), lost_sentence="All is lost.")
    assert judge(loss)[0] is Judgement.WORSE


@pytest.mark.parametrize("row_count", [1, 2, 5])
def test_a_handful_of_rows_that_all_gain_or_all_lose_cannot_tell(row_count):
    for base, tuned in (([0.0], [1.0]), ([1.0], [0.0])):
        before, after = base * row_count, tuned * row_count
        evidence = replace(
            GAIN,
            row_count=row_count,
            changed_count=changed_count(before, after),
            difference=difference(before, after, Resampling(1000, 0.95, 0)),
        )
        judgement, reasons = judge(evidence)
        assert judgement is Judgement.CANNOT_TELL
        assert "which may be chance" in reasons[0]
        assert f"Only {row_count} of {row_count} rows changed" in reasons[1]


def test_few_changes_among_many_rows_cannot_tell_and_more_of_them_can():
    def judged(gained):
        before, after = [0.0] * 200, [1.0] * gained + [0.0] * (200 - gained)
        figure = difference(before, after, Resampling(1000, 0.95, 0))
        changed = changed_count(before, after)
        return judge(replace(GAIN, row_count=200, changed_count=changed, difference=figure))[0]

    assert judged(5) is Judgement.CANNOT_TELL
    assert judged(7) is Judgement.BETTER


def test_scores_that_differ_by_rounding_have_not_changed():
    assert changed_count([0.3] * 9, [0.1 + 0.2] * 9) == 0
    assert changed_count([0.3, 0.5], [0.3, 0.4]) == 1


def test_a_loss_on_what_happened_to_be_graded_cannot_be_told_either():
    loss = replace(GAIN, difference=Figure(-0.2, -0.3, -0.1), ungraded_count=60)
    judgement, reasons = judge(loss)
    assert judgement is Judgement.CANNOT_TELL
    assert "60 of 160 rows could not be graded" in reasons[1]


def test_a_difference_that_is_no_number_decides_nothing():
    nowhere = Figure(math.nan, math.nan, math.nan)
    for lower in (True, False):
        assert by_interval(nowhere, lower_is_better=lower) is Judgement.CANNOT_TELL
        found = verdict_of(nowhere, lower_is_better=lower)
        assert found == EvaluationReport.VERDICT_CANNOT_TELL


def test_a_few_rows_without_a_score_are_bearable():
    assert judge(replace(GAIN, ungraded_count=11))[0] is Judgement.BETTER


@pytest.mark.parametrize(
    ("lower", "target", "tuned", "word"),
    [
        (False, 0.6, 0.6, "is reached"),
        (False, 0.7, 0.6, "is not reached"),
        (True, 0.1, 0.05, "is reached"),
        (True, 0.1, 0.2, "is not reached"),
    ],
)
def test_the_target_is_told_whichever_way_is_better(lower, target, tuned, word):
    evidence = replace(GAIN, lower_is_better=lower, target=target, tuned_score=tuned)
    assert any(word in reason for reason in judge(evidence)[1])


def test_a_prompt_that_does_as_well_is_said():
    assert any(
        "a prompt does as well" in one for one in judge(replace(GAIN, few_shot_score=0.6))[1]
    )
    assert not any("a prompt" in one for one in judge(replace(GAIN, few_shot_score=0.5))[1])


def test_a_model_that_says_one_thing_to_everything_is_found_out():
    same = replace(GAIN, majority_score=0.6)
    assert judge(same)[1][-1].startswith("Always giving the most frequent training answer")


@given(st.floats(-1, 1), st.floats(-1, 1), st.booleans())
def test_better_and_worse_are_mirror_images(one, other, lower):
    low, high = sorted((one, other))
    there = by_interval(Figure(low, low, high), lower_is_better=lower)
    back = by_interval(Figure(-high, -high, -low), lower_is_better=lower)
    mirror = {Judgement.BETTER: Judgement.WORSE, Judgement.WORSE: Judgement.BETTER}
    assert back is mirror.get(there, there)
