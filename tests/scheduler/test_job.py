"""The life of a job, as a table: every state meets every event."""

from datetime import timedelta

import pytest
from attune.scheduler.v1.scheduler_pb2 import PHASE_EVALUATE, PHASE_TRAIN, JobProgress

from services.common.errors import FailedPrecondition, InvalidArgument
from services.scheduler.announcement import events_of
from services.scheduler.approval import new_job
from services.scheduler.job import LOSSES_MAX
from services.scheduler.state import FINAL, LEASED, TRANSITIONS, Event, State, next_state
from tests.scheduler.factories import NOW, TERMS, a_job, a_question, a_result, a_spec, an_error

LATER = NOW + timedelta(seconds=5)
EXPIRE = TERMS.expire_time(LATER)

DO = {
    Event.LEASE: lambda job: job.lease("node-b", "instance-2", EXPIRE, LATER),
    Event.RENEW: lambda job: job.renew(None, EXPIRE, LATER),
    Event.CANCEL: lambda job: job.cancel(LATER),
    Event.ADVANCE: lambda job: job.advance("Stage 1 has ended.", LATER),
    Event.SUCCEED: lambda job: job.succeed(a_result(), LATER),
    Event.FAIL: lambda job: job.fail(an_error(), LATER),
    Event.STOP: lambda job: job.stop(LATER),
    Event.LOSE: lambda job: job.lose(an_error(), LATER),
    Event.EXPIRE: lambda job: job.expire("Not heard of.", LATER),
    Event.PAUSE: lambda job: job.pause("Paused on request.", LATER),
    Event.RESUME: lambda job: job.resume(LATER),
    Event.YIELD: lambda job: job.make_room("Makes room.", LATER),
    Event.HALT: lambda job: job.halt(LATER),
    Event.ASK: lambda job: job.ask(a_question(), LATER),
}
AFTER = {
    State.QUEUED: {
        Event.LEASE: State.RUNNING,
        Event.CANCEL: State.CANCELLED,
        Event.PAUSE: State.PAUSED,
        Event.RESUME: State.QUEUED,
    },
    State.RUNNING: {
        Event.ADVANCE: State.QUEUED,
        Event.ASK: State.PAUSED,
        Event.RENEW: State.RUNNING,
        Event.CANCEL: State.CANCELLING,
        Event.SUCCEED: State.SUCCEEDED,
        Event.FAIL: State.FAILED,
        Event.LOSE: State.QUEUED,
        Event.EXPIRE: State.QUEUED,
        Event.PAUSE: State.PAUSING,
        Event.RESUME: State.RUNNING,
        Event.YIELD: State.YIELDING,
    },
    State.PAUSED: {
        Event.PAUSE: State.PAUSED,
        Event.RESUME: State.QUEUED,
        Event.CANCEL: State.CANCELLED,
    },
    State.PAUSING: {
        Event.ADVANCE: State.PAUSED,
        Event.ASK: State.PAUSED,
        Event.RENEW: State.PAUSING,
        Event.PAUSE: State.PAUSING,
        Event.RESUME: State.YIELDING,
        Event.CANCEL: State.CANCELLING,
        Event.SUCCEED: State.SUCCEEDED,
        Event.FAIL: State.FAILED,
        Event.HALT: State.PAUSED,
        Event.LOSE: State.PAUSED,
        Event.EXPIRE: State.PAUSED,
    },
    State.YIELDING: {
        Event.ADVANCE: State.QUEUED,
        Event.ASK: State.PAUSED,
        Event.RENEW: State.YIELDING,
        Event.PAUSE: State.PAUSING,
        Event.RESUME: State.YIELDING,
        Event.YIELD: State.YIELDING,
        Event.CANCEL: State.CANCELLING,
        Event.SUCCEED: State.SUCCEEDED,
        Event.FAIL: State.FAILED,
        Event.HALT: State.QUEUED,
        Event.LOSE: State.QUEUED,
        Event.EXPIRE: State.QUEUED,
    },
    State.CANCELLING: {
        Event.ADVANCE: State.CANCELLED,
        Event.ASK: State.CANCELLED,
        Event.RENEW: State.CANCELLING,
        Event.CANCEL: State.CANCELLING,
        Event.SUCCEED: State.SUCCEEDED,
        Event.FAIL: State.FAILED,
        Event.STOP: State.CANCELLED,
        Event.LOSE: State.CANCELLED,
        Event.EXPIRE: State.CANCELLED,
        Event.HALT: State.CANCELLED,
    },
    State.SUCCEEDED: {},
    State.FAILED: {},
    State.CANCELLED: {Event.CANCEL: State.CANCELLED},
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", DO)
def test_every_event_in_every_state(state, event):
    job = a_job(state=state)
    if event not in AFTER[state]:
        with pytest.raises(FailedPrecondition):
            DO[event](job)
        return
    after = DO[event](job)
    assert after.state is AFTER[state][event]
    assert (after.node != "") == (after.lease_expire_time is not None) == (after.state in LEASED)
    assert (after.end_time is not None) == (after.state in FINAL)


def test_table_holds_no_change_of_a_final_state():
    leaving = {key for key, state in TRANSITIONS.items() if key[0] in FINAL and state is not key[0]}
    assert leaving == set()


def test_given_up_is_possible_only_while_it_runs_and_should_go_on():
    going_on = {State.RUNNING, State.YIELDING}
    for state in going_on:
        assert next_state(state, Event.GIVE_UP, "j") is State.FAILED
    for state in set(State) - going_on:
        with pytest.raises(FailedPrecondition):
            next_state(state, Event.GIVE_UP, "j")


@pytest.mark.parametrize("event", [Event.LOSE, Event.EXPIRE])
def test_lost_job_is_queued_five_times_then_fails_and_says_so(event):
    job = a_job()
    for count in range(1, LOSSES_MAX + 1):
        job = DO[event](DO[Event.LEASE](job))
        assert (job.state, job.loss_count) == (State.QUEUED, count)
        assert f"{count} of at most 5" in job.state_reason
    job = DO[event](DO[Event.LEASE](job))
    assert job.state is State.FAILED
    assert "lost its worker 6 times" in job.error.message
    assert job.error.code != 0


def test_a_job_that_makes_room_keeps_its_place_and_counts_no_loss():
    job = a_job(state=State.YIELDING).halt(LATER)
    assert (job.state, job.loss_count, job.yield_count) == (State.QUEUED, 0, 1)
    assert job.queue_time == NOW
    assert DO[Event.LEASE](job).attempt_count == 2


def test_a_resumed_job_waits_from_now_on():
    assert a_job(state=State.PAUSED).resume(LATER).queue_time == LATER


def test_a_pause_says_why_while_it_comes_and_when_it_is_there():
    job = a_job(state=State.RUNNING).pause("The budget is spent.", LATER)
    assert job.state_reason == "The budget is spent. It goes on to its next checkpoint."
    assert job.halt(LATER).state_reason == "The budget is spent."


def test_cost_counts_every_lease_and_nothing_between_them():
    def lease(job, now):
        price = 3_600_000
        return job.lease("n", "i", EXPIRE, now, expected_s=60, price_micro_usd_per_hour=price)

    first = lease(a_job(), NOW)
    assert first.cost_micro_usd(NOW + timedelta(seconds=10)) == 10_000
    halted = first.pause("Enough.", NOW).halt(NOW + timedelta(seconds=20))
    assert halted.cost_micro_usd(NOW + timedelta(hours=9)) == 20_000
    second = lease(halted.resume(LATER), NOW + timedelta(hours=9))
    done = second.succeed(a_result(), NOW + timedelta(hours=9, seconds=5))
    assert (done.cost_micro_usd(done.update_time), done.device_s) == (25_000, 25.0)


def test_each_lease_has_the_next_fence_and_the_same_run():
    first = DO[Event.LEASE](a_job())
    second = DO[Event.LEASE](DO[Event.LOSE](first))
    assert (first.attempt_count, second.attempt_count) == (1, 2)
    assert first.run == second.run == a_job().name.replace("/jobs/", "/runs/") + "-s0"
    assert second.start_time == first.start_time
    assert a_job().run == ""


def test_cancel_after_the_end_says_how_it_ended():
    with pytest.raises(FailedPrecondition, match="has succeeded already") as caught:
        a_job(state=State.SUCCEEDED).cancel(LATER)
    assert caught.value.reason == "JOB_ENDED"


def test_progress_stays_until_the_next_report_and_goes_with_the_lease():
    progress = JobProgress(phase=PHASE_TRAIN, done_count=3)
    job = a_job(state=State.RUNNING).renew(progress, EXPIRE, LATER)
    assert job.renew(None, EXPIRE, LATER).progress.done_count == 3
    assert job.expire("Gone.", LATER).progress is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, State.QUEUED, ["job.queued"]),
        (State.QUEUED, State.RUNNING, ["job.started"]),
        (State.RUNNING, State.QUEUED, ["job.queued"]),
        (State.RUNNING, State.CANCELLING, []),
        (State.RUNNING, State.SUCCEEDED, ["job.succeeded"]),
        (State.RUNNING, State.FAILED, ["job.failed"]),
        (State.CANCELLING, State.CANCELLED, ["job.cancelled"]),
        (State.RUNNING, State.PAUSING, []),
        (State.PAUSING, State.PAUSED, ["job.paused"]),
        (State.QUEUED, State.PAUSED, ["job.paused"]),
        (State.PAUSED, State.QUEUED, ["job.queued"]),
        (State.YIELDING, State.QUEUED, ["job.queued"]),
        (State.RUNNING, State.RUNNING, []),
    ],
)
def test_every_change_that_others_must_know_has_one_event(before, after, expected):
    job = None if before is None else a_job(state=before)
    assert events_of(job, a_job(state=after)) == expected


def test_new_phase_has_an_event_and_more_progress_in_it_has_none():
    job = a_job(state=State.RUNNING)
    train = job.renew(JobProgress(phase=PHASE_TRAIN), EXPIRE, LATER)
    more = train.renew(JobProgress(phase=PHASE_TRAIN, done_count=9), EXPIRE, LATER)
    evaluate = more.renew(JobProgress(phase=PHASE_EVALUATE), EXPIRE, LATER)
    assert events_of(job, train) == ["job.phase_changed"]
    assert events_of(train, more) == []
    assert events_of(more, evaluate) == ["job.phase_changed"]


def test_spec_whose_bytes_do_not_have_the_approved_hash_makes_no_job():
    spec = a_spec()
    spec.approval.canonical_spec += b"!"
    with pytest.raises(InvalidArgument) as caught:
        new_job(spec, "a1", NOW)
    assert caught.value.violations[0].field == "spec.approval.hash"


def test_spec_that_was_not_approved_makes_no_job():
    spec = a_spec()
    spec.ClearField("approval")
    with pytest.raises(InvalidArgument):
        new_job(spec, "a1", NOW)
