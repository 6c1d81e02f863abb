"""What a FinishRun must carry."""

import math

import pytest
from attune.scheduler.v1.scheduler_pb2 import JobResult

from services.common.errors import InvalidArgument
from services.scheduler.outcome import check_outcome
from tests.scheduler.factories import a_finish, a_question, a_result, an_error

RUN = "projects/default/runs/a1-s0"


@pytest.mark.parametrize("outcome", ["SUCCEEDED", "FAILED", "LOST", "CANCELLED", "PAUSED"])
def test_each_outcome_with_what_it_must_carry_is_taken(outcome):
    check_outcome(a_finish(RUN, 1, outcome))


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (a_finish(RUN, 1, "SUCCEEDED", result=None), ["result"]),
        (a_finish(RUN, 1, "SUCCEEDED", error=an_error()), ["error"]),
        (a_finish(RUN, 1, "FAILED", error=None), ["error"]),
        (a_finish(RUN, 1, "LOST", result=a_result()), ["result"]),
        (a_finish(RUN, 1, "CANCELLED", result=a_result(), error=an_error()), ["result", "error"]),
        (a_finish(RUN, 1, "PAUSED", error=an_error()), ["error"]),
        (a_finish(RUN, 1, result=JobResult(adapter_sha256="no")), ["result.adapter_sha256"]),
        (a_finish(RUN, 1, result=JobResult(merged_sha256="no")), ["result.merged_sha256"]),
    ],
)
def test_anything_else_is_named(request_, fields):
    with pytest.raises(InvalidArgument) as caught:
        check_outcome(request_)
    assert [violation.field for violation in caught.value.violations] == fields


def test_a_whole_model_takes_the_place_of_an_adapter():
    check_outcome(a_finish(RUN, 1, result=JobResult(merged_sha256="c" * 64)))


def test_a_run_that_pauses_of_itself_says_why():
    check_outcome(a_finish(RUN, 1, "PAUSED", question=a_question()))


def a_bad_question(**changes):
    question = a_question()
    for name, value in changes.items():
        setattr(question, name, value)
    return question


@pytest.mark.parametrize(
    ("outcome", "question", "fields"),
    [
        ("LOST", a_question(), ["question"]),
        ("PAUSED", a_bad_question(reason="too good"), ["question.reason"]),
        ("PAUSED", a_bad_question(message=""), ["question.message"]),
        ("PAUSED", a_bad_question(message="x" * 2001), ["question.message"]),
    ],
)
def test_a_question_that_breaks_a_rule_is_named(outcome, question, fields):
    with pytest.raises(InvalidArgument) as caught:
        check_outcome(a_finish(RUN, 1, outcome, question=question))
    assert [violation.field for violation in caught.value.violations] == fields


@pytest.mark.parametrize(("name", "value"), [("Score", 1.0), ("score", math.nan)])
def test_a_figure_needs_a_name_and_a_number(name, value):
    question = a_question()
    question.figures.add(name=name, value=value)
    with pytest.raises(InvalidArgument) as caught:
        check_outcome(a_finish(RUN, 1, "PAUSED", question=question))
    assert caught.value.violations[0].field == "question.figures.1"


def test_unknown_outcome_is_refused():
    request = a_finish(RUN, 1)
    request.outcome = 99
    with pytest.raises(InvalidArgument):
        check_outcome(request)
