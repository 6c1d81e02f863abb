"""F1 over labels, with its interval, and who is taken for whom."""

import numpy as np
import pytest
from attune.spec.v1.evaluation_pb2 import EvaluationReport
from attune.spec.v1.grader_pb2 import Grader, RegexGrader, StringCheckGrader

from services.trainer.data.rows import Row
from services.trainer.evaluation.bootstrap import Resampling
from services.trainer.evaluation.comparison import add_confusion, deciding_figures
from services.trainer.evaluation.grades import Graded as Scores
from services.trainer.evaluation.grades import Scored
from services.trainer.evaluation.labels import (
    LABELS_MAX,
    Labelling,
    are_labels,
    confusion,
    labelling,
    macro_f1,
    macro_f1_difference,
    macro_f1_figure,
)
from services.trainer.grading.build import build
from services.trainer.grading.sample import Graded

CHECK = Grader(
    name="exact_match",
    string_check=StringCheckGrader(
        input="{{sample.output_text}}",
        reference="{{item.reference}}",
        operation=StringCheckGrader.OPERATION_EQ,
    ),
)
EXACT = build(CHECK)


def answered(references):
    return [Row(1, [{"role": "assistant", "content": text}]) for text in references]


def found(references, answers):
    return labelling(EXACT, answered(references), list(answers))


@pytest.mark.parametrize(
    ("references", "answers", "expected"),
    [
        ("aabb", "aabb", 1.0),
        ("aabb", "bbaa", 0.0),
        ("aaab", "aaaa", (6 / 7 + 0) / 2),
        ("aabb", "aaab", (4 / 5 + 2 / 3) / 2),
        ("ab", "xx", 0.0),
        ("a", "a", 1.0),
    ],
)
def test_every_label_counts_the_same(references, answers, expected):
    assert macro_f1(found(references, answers)) == pytest.approx(expected)


def test_a_label_within_an_answer_is_found_whole_and_two_are_none():
    check = Grader(name="names")
    check.string_check.CopyFrom(CHECK.string_check)
    check.string_check.operation = StringCheckGrader.OPERATION_LIKE
    rows = answered(["card", "card_lost", "pin", "pin"])
    answers = ["It is card_lost.", "It is card_lost.", "pin", "card or pin"]
    assert labelling(build(check), rows, answers).taken == ["card_lost", "card_lost", "pin", None]


def test_an_answer_that_was_not_graded_is_left_out_and_not_taken_for_a_wrong_one():
    rows = answered("aabb")
    base = Scored(rows, list("abbb"), {"exact_match": Scores([1.0, 0.0, 1.0, 1.0], "")})
    tuned = Scored(rows, ["a", "?", "b", "b"], {"exact_match": Scores([1.0, None, 1.0, 1.0], "")})
    scored = {"base": base, "tuned": tuned}
    figures = deciding_figures(EXACT, "exact_match", scored, Resampling(200, 0.9, 7), by_label=True)
    assert figures["tuned"].value == 1.0
    assert figures["difference"].value == 0.0
    assert figures["base"].value == pytest.approx((2 / 3 + 4 / 5) / 2)


FORM = Grader(name="form", regex=RegexGrader(pattern="^[a-z]+$"))


@pytest.mark.parametrize(("grader", "has_matrix"), [(CHECK, True), (FORM, False)])
def test_only_who_tells_labels_apart_says_which_was_taken_for_which(grader, has_matrix):
    rows, report = answered("aabb"), EvaluationReport()
    add_confusion(report, build(grader), Scored(rows, list("abbb"), {}))
    assert report.HasField("confusion") is has_matrix
    assert list(report.confusion.counts) == ([1, 1, 0, 0, 2, 0] if has_matrix else [])


def test_the_bootstrap_computes_f1_anew_for_every_resample():
    """Against a plain loop over the same draws."""
    base, tuned = found("aaabbc" * 5, "aabbbb" * 5), found("aaabbc" * 5, "aaabbc" * 4 + "cccccc")
    how = Resampling(200, 0.9, 7)
    drawn = np.random.default_rng(7).integers(0, 30, (200, 30))

    def plainly(one, rows):
        scores = []
        for label in "abc":
            right = [one.right[row] == label for row in rows]
            taken = [one.taken[row] == label for row in rows]
            if sum(right) + sum(taken):
                hits = sum(r and t for r, t in zip(right, taken, strict=True))
                scores.append(2 * hits / (sum(right) + sum(taken)))
        return sum(scores) / len(scores)

    expected = np.quantile([plainly(tuned, rows) for rows in drawn], [0.05, 0.95])
    figure = macro_f1_figure(tuned, how)
    assert (figure.low, figure.high) == pytest.approx(tuple(expected))
    changes = [plainly(tuned, rows) - plainly(base, rows) for rows in drawn]
    expected = np.quantile(changes, [0.05, 0.95])
    figure = macro_f1_difference(base, tuned, how)
    assert figure.value == pytest.approx(macro_f1(tuned) - macro_f1(base))
    assert (figure.low, figure.high) == pytest.approx(tuple(expected))


def test_the_matrix_counts_who_is_taken_for_whom_and_for_none():
    assert confusion(found("aabb", "abbx")) == [[1, 1, 0], [0, 1, 1]]


def test_an_answer_that_cannot_be_graded_is_no_label():
    broken = labelling(
        lambda samples: [Graded(None, "away") for _ in samples], answered("ab"), "ab"
    )
    assert broken == Labelling(["a", "b"], ["a", "b"], [None, None])


def test_of_very_many_labels_an_answer_is_only_compared_with_itself():
    asked = []

    def grade(samples):
        asked.append(len(samples))
        return EXACT(samples)

    references = [f"label {index}" for index in range(LABELS_MAX + 1)]
    assert macro_f1(labelling(grade, answered(references), references)) == 1.0
    assert set(asked) == {1}


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        (["yes", "no"] * 3, True),
        (["yes"] * 6, False),
        (["a", "b", "c"], False),
        (["x" * 70, "y"] * 4, False),
    ],
)
def test_references_are_labels_when_they_are_short_and_repeat(references, expected):
    assert are_labels(references) is expected
