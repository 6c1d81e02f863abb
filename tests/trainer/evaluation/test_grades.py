"""Scores by every grader; an answer that could not be graded is never a score of zero."""

import pytest

from services.common.errors import ServiceError
from services.trainer.evaluation.grades import (
    Graded,
    deciding_score,
    paired,
    score_rows,
)
from services.trainer.grading import sample
from tests.trainer.evaluation.test_labels import EXACT, answered


def half_blind(samples):
    """Grade every other answer."""
    return [
        sample.Graded(1.0) if index % 2 == 0 else sample.Graded(None, f"answer {index} is lost")
        for index in range(len(samples))
    ]


def test_what_could_not_be_graded_is_left_out_of_the_mean_and_counted():
    found = score_rows({"judge": half_blind, "exact": EXACT}, answered("abcd"), "xxxd", "abcd")
    judge, exact = found.graded["judge"], found.graded["exact"]
    assert judge.scores == [1.0, None, 1.0, None]
    assert (judge.mean, judge.ungraded_count) == (1.0, 2)
    assert judge.first_error == "answer 1 is lost"
    assert (exact.mean, exact.ungraded_count, exact.first_error) == (0.25, 0, "")
    assert Graded.from_json(judge.to_json()) == judge


def test_graders_that_compare_two_answers_get_the_base_model_s():
    rivals = []

    def compare(samples):
        rivals.extend(one.base_text for one in samples)
        return [sample.Graded(0.5) for _ in samples]

    score_rows({"win": compare}, answered("ab"), ["new a", "new b"], ["old a", "old b"])
    assert rivals == ["old a", "old b"]


def test_only_rows_with_two_scores_are_compared():
    one, other = Graded([1.0, None, 0.0], ""), Graded([0.0, 1.0, 0.0], "")
    assert paired(one, other) == ([0, 2], [1.0, 0.0], [0.0, 0.0])


def test_a_deciding_grader_that_grades_nothing_stops_the_attempt_with_its_reason():
    def away(samples):
        return [sample.Graded(None, "no answer from 10.0.0.1") for _ in samples]

    found = score_rows({"judge": away}, answered("ab"), "ab", "ab")
    with pytest.raises(ServiceError, match="none of 2 answers: no answer from") as caught:
        deciding_score(found, "judge")
    assert caught.value.reason == "GRADER_FAILED"
