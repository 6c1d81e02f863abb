"""Rules of leases."""

from datetime import timedelta

import pytest

from services.common.errors import FailedPrecondition, InvalidArgument
from services.scheduler.lease import (
    check_holder,
    is_expired,
    is_orphaned,
    is_repeat,
    job_of_run,
)
from services.scheduler.state import LEASED, State
from tests.scheduler.factories import NOW, TERMS, a_job, an_error

END = NOW + timedelta(seconds=TERMS.lease_s)
MOMENT = timedelta(microseconds=1)


def test_holder_of_the_newest_fence_may_write_even_when_late():
    job = a_job(state=State.RUNNING)
    check_holder(job, job.run, 1)


@pytest.mark.parametrize("fence", [0, 2])
def test_other_fence_has_lost_its_lease(fence):
    job = a_job(state=State.RUNNING)
    with pytest.raises(FailedPrecondition) as caught:
        check_holder(job, job.run, fence)
    assert caught.value.reason == "LEASE_LOST"


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.QUEUED, State.CANCELLED])
def test_ended_lease_is_lost(state):
    job = a_job(state=state)
    with pytest.raises(FailedPrecondition) as caught:
        check_holder(job, job.run, job.attempt_count)
    assert caught.value.reason == "LEASE_LOST"


def test_lease_is_over_at_its_end_and_not_before():
    job = a_job(state=State.RUNNING)
    assert not is_expired(job, END - MOMENT, NOW)
    assert is_expired(job, END, NOW)


def test_grace_keeps_a_lease_that_is_over():
    job = a_job(state=State.RUNNING)
    grace_end = END + timedelta(seconds=10)
    assert not is_expired(job, grace_end - MOMENT, grace_end)
    assert is_expired(job, grace_end, grace_end)


def test_job_without_a_lease_never_expires():
    for state in set(State) - LEASED:
        assert not is_expired(a_job(state=state), END, NOW)


def test_new_instance_of_the_same_node_orphans_a_lease():
    job = a_job(state=State.RUNNING)
    assert is_orphaned(job, "node-a", "instance-2")
    assert not is_orphaned(job, "node-a", "instance-1")
    assert not is_orphaned(job, "node-b", "instance-2")


def test_repeat_is_a_finish_that_was_taken_with_no_lease_since():
    running = a_job(state=State.RUNNING)
    lost = running.lose(an_error(), NOW)
    assert is_repeat(lost, lost.run, 1)
    assert not is_repeat(running, running.run, 1)
    assert not is_repeat(running.expire("Late.", NOW), running.run, 1)
    again = lost.lease("node-b", "instance-2", END, NOW)
    assert not is_repeat(again, again.run, 1)


def test_run_names_its_job():
    assert job_of_run("projects/p/runs/a1-s0") == "projects/p/jobs/a1"


@pytest.mark.parametrize("run", ["", "a1-s0", "projects/p/runs/a1", "projects/p/runs/a1-sx"])
def test_bad_run_name_is_refused(run):
    with pytest.raises(InvalidArgument) as caught:
        job_of_run(run)
    assert caught.value.violations[0].field == "run"
