import pytest
from attune.spec.v1.grader_pb2 import (
    Grader,
    LengthGrader,
    MultiGrader,
    NumericGrader,
    RegexGrader,
)

from services.common.errors import InvalidArgument
from services.trainer.grading.build import build
from services.trainer.grading.sample import Fault, Sample

RIGHT = Grader(name="right", numeric=NumericGrader(reference="{{item.reference}}"))
SHORT = Grader(name="short", length=LengthGrader(max_characters=8))
POLITE = Grader(name="polite", regex=RegexGrader(pattern="please"))


def grade(formula: str, answer: str, reference: str = "42"):
    made = MultiGrader(graders=[RIGHT, SHORT, POLITE], calculate_output=formula)
    return build(Grader(name="all", multi=made))([Sample(answer, {"reference": reference})])[0]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("0.7 * right + 0.2 * short + 0.1 * polite", 0.9),
        ("min(right, polite)", 0.0),
        ("max(right, polite)", 1.0),
        ("right / 2", 0.5),
        ("-right + 1.5 * short - (0.5 * polite)", 0.5),
        ("max(0, min(1, right * 3))", 1.0),
        ("1", 1.0),
        ("  right ", 1.0),
    ],
)
def test_a_formula_combines_scores(formula, expected):
    graded = grade(formula, "42")
    assert graded.score == pytest.approx(expected)
    assert graded.scores == {"right": 1.0, "short": 1.0, "polite": 0.0}


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os').system('true')",
        "right.__class__",
        "[right for right in (1,)]",
        "right if short else polite",
        "right ** 9999999",
        "right // 2",
        "right and short",
        "min(right, key=short)",
        "min()",
        "sum(right)",
        "(lambda: 1)()",
        "'a' * 9",
        "True",
        "unknown",
        "right +",
        "",
        "right; short",
        "right + " * 200 + "right",
        "(" * 300 + "right" + ")" * 300,
        "- " * 400 + "right",
    ],
)
def test_anything_but_the_formula_language_is_refused(formula):
    if formula.startswith("- "):
        assert grade(formula, "42").score == 1.0  # Long, but nothing else.
        return
    with pytest.raises(InvalidArgument) as caught:
        grade(formula, "42")
    assert caught.value.reason == "UNSUPPORTED_GRADER"


@pytest.mark.parametrize("formula", ["right * 2", "0 - right", "right / polite"])
def test_a_result_that_is_no_score_is_an_error(formula):
    graded = grade(formula, "42")
    assert (graded.score, graded.fault) == (None, Fault.FORMULA_PARSE)
    assert "min(1" in graded.error


def test_weights_that_round_above_one_are_one():
    assert grade("0.1 * right + 0.2 * right + 0.7 * right + 0.0000000001", "42").score == 1.0


def test_what_one_part_cannot_grade_nobody_scores():
    graded = grade("0.5 * right + 0.5 * short", "42", reference="forty-two")
    assert (graded.score, graded.fault) == (None, Fault.SAMPLE_PARSE)
    assert graded.error.startswith("right: ")
    assert graded.scores == {"short": 1.0, "polite": 0.0}
