"""What a run asks, and what becomes of its job by each answer."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.common.errors import FailedPrecondition, InvalidArgument
from services.scheduler.question import WAIVED_MAX, Decision, answer
from services.scheduler.state import FINAL, State
from tests.scheduler.factories import NOW, a_job, a_question

LATER = NOW + timedelta(seconds=5)


def asking(reason="TARGET_MET"):
    return a_job(state=State.RUNNING).ask(a_question(reason), NOW)


def test_a_job_whose_run_asks_rests_with_reason_and_figures():
    job = asking()
    assert (job.state, job.node, job.finished_fence) == (State.PAUSED, "", job.attempt_count)
    assert job.state_reason == "The base meets the target."
    assert job.question.figures[0].value == 0.9


def test_who_asks_needs_a_decision():
    with pytest.raises(InvalidArgument) as caught:
        answer(asking(), None, LATER)
    (violation,) = caught.value.violations
    assert (violation.field, violation.rule) == ("decision", "TARGET_MET")
    assert "The base meets the target. Send CONTINUE or STOP." in violation.message


def test_going_on_waives_the_reason_and_asks_nothing_any_more():
    job = answer(asking(), Decision.CONTINUE, LATER)
    assert (job.state, job.queue_time, job.question) == (State.QUEUED, LATER, None)
    assert job.waived_reasons == ("TARGET_MET",)


def test_stopping_ends_the_job_and_keeps_what_was_asked():
    job = answer(asking(), Decision.STOP, LATER)
    assert (job.state, job.end_time) == (State.CANCELLED, LATER)
    assert job.state_reason == "Stopped as decided. The base meets the target."
    assert job.question.reason == "TARGET_MET"


@pytest.mark.parametrize("decision", [None, Decision.CONTINUE])
def test_a_pause_on_request_needs_no_decision_and_waives_nothing(decision):
    job = answer(a_job(state=State.PAUSED), decision, LATER)
    assert (job.state, job.waived_reasons) == (State.QUEUED, ())


def test_a_pause_on_request_may_end_the_job_too():
    job = answer(a_job(state=State.PAUSED), Decision.STOP, LATER)
    assert (job.state, job.state_reason) == (State.CANCELLED, "Stopped as decided.")


@pytest.mark.parametrize("state", [state for state in State if state is not State.PAUSED])
def test_only_what_rests_is_answered_with_stop(state):
    with pytest.raises(FailedPrecondition) as caught:
        answer(a_job(state=state), Decision.STOP, LATER)
    assert caught.value.reason == ("JOB_ENDED" if state in FINAL else "NOT_PAUSED")


def test_a_job_that_is_cancelled_while_its_run_asks_stays_cancelled():
    job = a_job(state=State.CANCELLING).ask(a_question(), LATER)
    assert job.state is State.CANCELLED
    assert job.state_reason == "Stopped on request. The base meets the target."


def test_waived_reasons_are_bounded():
    full = replace(asking(), waived_reasons=tuple(f"R{one}" for one in range(WAIVED_MAX)))
    waived = answer(full, Decision.CONTINUE, LATER).waived_reasons
    assert (len(waived), waived[0], waived[-1]) == (WAIVED_MAX, "R1", "TARGET_MET")
