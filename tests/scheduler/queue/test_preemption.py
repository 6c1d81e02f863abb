"""Who makes room for whom."""

import pytest

from services.scheduler.queue.entry import Machine, Priority
from services.scheduler.queue.preemption import PATIENCE_S, YIELDS_MAX, Cause, Stop, cause_words
from services.scheduler.queue.schedule import make_schedule
from tests.scheduler.queue.entries import a_running, a_snapshot, a_waiting, an_account, busy

LOW = Priority.LOW


def stops(waiting, running, machines):
    return make_schedule(a_snapshot(waiting, running, machines)).stops


def test_a_low_run_makes_room_for_a_job_that_would_wait_long():
    found = stops([a_waiting("a")], [a_running("low", priority=LOW)], busy())
    assert found == [Stop("low", Cause.YIELD, "a")]
    assert cause_words(found[0], an_account()) == "Makes room for a, which has a higher priority."


@pytest.mark.parametrize(
    ("run", "job"),
    [
        ({"priority": Priority.NORMAL}, {"priority": Priority.HIGH}),
        ({"priority": LOW}, {"priority": LOW}),
        ({"priority": LOW, "stopping": True}, {}),
        ({"priority": LOW, "yield_count": YIELDS_MAX}, {}),
        ({"priority": LOW, "left_s": PATIENCE_S - 1}, {}),
        ({"priority": LOW}, {"slots": 2}),
        ({"priority": LOW}, {"pools": ("elsewhere",)}),
    ],
    ids=["normal", "equal", "asked already", "often enough", "soon over", "too wide", "other pool"],
)
def test_otherwise_nobody_is_disturbed(run, job):
    assert stops([a_waiting("a", **job)], [a_running("r", **run)], busy()) == []


def test_no_more_runs_stop_than_are_needed_and_the_newest_first():
    machines = [Machine("m0", "all", 4, 1)]
    running = [a_running(f"r{age}", priority=LOW, for_s=age) for age in (100, 200, 300)]
    found = stops([a_waiting("a", slots=2)], running, machines)
    assert [stop.job for stop in found] == ["r100"]


def test_two_jobs_do_not_count_on_the_same_room():
    machines = busy(2)
    running = [a_running("r0", "m0", priority=LOW), a_running("r1", "m1", priority=LOW)]
    found = stops([a_waiting("a"), a_waiting("b")], running, machines)
    assert sorted(stop.job for stop in found) == ["r0", "r1"]
    asked = [a_running("r0", "m0", priority=LOW, stopping=True), running[1]]
    assert [stop.job for stop in stops([a_waiting("a"), a_waiting("b")], asked, machines)] == ["r1"]
