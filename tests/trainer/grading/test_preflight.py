import itertools
import json

import pytest
from attune.spec.v1.grader_pb2 import Grader, LengthGrader, RegexGrader, StringCheckGrader

from services.trainer.grading.build import build
from services.trainer.grading.preflight import FLATTERY, agreement, plant, preflight
from services.trainer.grading.sample import Fault, Graded, Sample

EXACT = build(
    Grader(
        name="exact",
        string_check=StringCheckGrader(
            input="{{sample.output_text}}", reference="{{item.reference}}", operation=1
        ),
    )
)
FORM = build(Grader(name="form", regex=RegexGrader(pattern=r"\S")))
LONG = build(Grader(name="long", length=LengthGrader(min_characters=60)))


def rows(count: int = 20) -> list[Sample]:
    made = ((f"What is {n}?", f"It is {n}.") for n in range(count))
    return [Sample(right, {"prompt": asked, "reference": right}) for asked, right in made]


def test_a_sound_grader_passes_and_its_figures_are_told():
    clock = itertools.count(step=0.25)
    found = preflight("exact", EXACT, rows(), clock=lambda: next(clock))
    assert (found.problems, found.notices) == ((), ())
    assert (found.sample_count, found.changed_count, found.error_count) == (20, 0, 0)
    assert (found.reference_mean, found.planted_mean) == (1.0, 0.0)
    assert (found.latency_p50_s, found.latency_p95_s) == (0.25, 0.25)
    assert {each.kind for each in found.planted} == {
        "empty", "prompt_repeated", "very_long", "other_reference", "flattery",
    }  # fmt: skip
    json.dumps([found.reference_mean, found.agreement])


def test_at_most_fifty_rows_are_graded():
    assert preflight("exact", EXACT, rows(80)).sample_count == 50


def test_a_grader_that_flattery_wins_over_is_refused():
    def grade(samples):
        return [Graded(float("perfect" in each.output_text) or 0.1) for each in samples]

    found = preflight("soft", grade, rows())
    assert "bad answers 0.28 on average and right ones 0.10" in found.problems[0]
    assert "'flattery' with 1.00" in found.problems[0]


def test_a_grader_of_length_alone_is_refused_and_one_of_form_is_told():
    assert preflight("long", LONG, rows()).problems
    found = preflight("form", FORM, rows())
    assert found.problems == ()
    assert "prompt repeated, very long, other reference, flattery" in found.notices[0]


def test_a_grader_that_changes_its_mind_is_refused():
    scores = itertools.cycle([0.2, 0.9, 0.5])
    found = preflight("moody", lambda samples: [Graded(next(scores)) for _ in samples], rows())
    assert found.changed_count > 1
    assert any("another score" in each for each in found.problems)


def test_what_is_remembered_is_asked_anew():
    found = preflight("g", EXACT, rows(), again=lambda samples: [Graded(0.5) for _ in samples])
    assert found.changed_count == 20


def test_a_grader_that_cannot_grade_is_refused_with_the_first_reason():
    error = Graded(None, "The judge failed.", Fault.MODEL_SERVER)
    found = preflight("judge", lambda samples: [error for _ in samples], rows())
    assert (found.error_count, found.reference_mean, found.planted) == (20, None, ())
    assert "20 of 20" in found.problems[0]
    assert "The judge failed." in found.problems[0]


def test_without_right_answers_bad_ones_must_score_little():
    unknown = [Sample("", {"prompt": f"Say {n}", "reference": ""}) for n in range(5)]
    assert "at most 0.5" in preflight("form", FORM, unknown).problems[0]
    assert preflight("long", EXACT, unknown).reference_mean is None


def test_references_that_are_no_answers_may_score_nothing():
    def grade(samples):
        return [Graded(0.0) for _ in samples]

    assert preflight("tests", grade, rows()).problems
    found = preflight("tests", grade, rows(), references_are_answers=False)
    assert found.problems == ()
    assert "gives what rows hold as their reference nothing" in found.notices[0]


def test_graders_that_rank_answers_differently_are_refused():
    assert preflight("exact", EXACT, rows(), other=EXACT).agreement == pytest.approx(1.0)
    found = preflight("form", FORM, rows(), other=EXACT)
    assert 0 < found.agreement < 0.6
    assert any("rank the same answers differently" in each for each in found.problems)


def test_agreement_is_spearmans_with_mean_ranks_of_ties():
    left = [Graded(each) for each in (0.1, 0.2, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)]
    assert agreement(left, left) == pytest.approx(1.0)
    assert agreement(left, [Graded(1 - each.score) for each in left]) == pytest.approx(-1.0)
    right = [Graded(each) for each in (0.2, 0.1, 0.3, 0.4, 0.6, 0.5, 0.7, 0.9, 0.8, 1.0)]
    # scipy.stats.spearmanr of the same numbers.
    assert agreement(left, right) == pytest.approx(0.9544117035777014)
    assert agreement(left[:9], right[:9]) is None
    assert agreement(left, [Graded(1.0)] * 10) is None
    assert agreement(left, [*right[:9], Graded(None, "late")]) is None


def test_bad_answers_are_of_the_row_that_they_are_planted_in():
    planted = plant(rows(3))
    assert [each.output_text for each in planted["other_reference"]] == [
        "It is 1.", "It is 2.", "It is 0.",
    ]  # fmt: skip
    assert planted["prompt_repeated"][1].output_text == "What is 1?"
    assert len(planted["very_long"][0].output_text) == 20_000
    assert planted["flattery"][0].output_text == FLATTERY
    assert plant([Sample("x", {})])["other_reference"] == []
