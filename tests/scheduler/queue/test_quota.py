"""What projects may use: held before, paused at the end, never killed."""

import pytest

from services.scheduler.queue.entry import Machine, Option, Waiting
from services.scheduler.queue.preemption import Cause, Stop, cause_words
from services.scheduler.queue.schedule import make_schedule
from services.scheduler.queue.wait import Wait
from tests.scheduler.queue.entries import (
    HOUR_S,
    NOW_S,
    a_running,
    a_snapshot,
    a_waiting,
    an_account,
    busy,
    idle,
    started,
)


def test_no_more_jobs_run_than_a_project_may_and_others_pass():
    jobs = [a_waiting(f"j{n}", submit_s=n) for n in range(3)] + [a_waiting("other", project="q")]
    accounts = {"p": an_account(running_jobs_max=2)}
    running = [a_running("r", "elsewhere")]
    schedule = make_schedule(a_snapshot(jobs, running, idle(4), accounts))
    assert sorted(started(schedule)) == ["j0", "other"]
    assert schedule.outlooks["j1"].wait is Wait.RUNNING_JOBS
    assert schedule.outlooks["j1"].start_s is None


@pytest.mark.parametrize(("hours", "starts"), [(3.0, ["j"]), (2.9, [])])
def test_device_hours_count_what_was_used_what_runs_and_what_would_start(hours, starts):
    accounts = {"p": an_account(device_s_max=hours * HOUR_S, device_s=HOUR_S)}
    running = [a_running("r", "elsewhere", for_s=0, left_s=HOUR_S)]
    schedule = make_schedule(a_snapshot([a_waiting("j")], running, idle(), accounts))
    assert started(schedule) == starts
    assert starts or schedule.outlooks["j"].wait is Wait.DEVICE_HOURS


@pytest.mark.parametrize(("budget", "starts"), [(100, ["j"]), (99, [])])
def test_a_job_that_would_not_end_within_the_budget_is_not_begun(budget, starts):
    accounts = {"p": an_account(budget_micro_usd=budget, spent_micro_usd=20)}
    running = [a_running("r", "elsewhere", cost_micro_usd=10, rest_micro_usd=30)]
    jobs = [a_waiting("j", cost=40)]
    schedule = make_schedule(a_snapshot(jobs, running, idle(), accounts))
    assert started(schedule) == starts


def test_own_hardware_costs_nothing_and_needs_no_budget():
    accounts = {"p": an_account(budget_micro_usd=0, spent_micro_usd=5)}
    running = [a_running("free", "m1")]
    schedule = make_schedule(a_snapshot([a_waiting("j")], running, idle(), accounts))
    assert (started(schedule), schedule.stops) == (["j"], [])


def test_a_machine_that_is_too_dear_is_passed_over():
    options = (Option("cheap", 1, 60.0, 10), Option("dear", 1, 60.0, 90))
    job = Waiting("j", "p", NOW_S, options)
    machines = [*busy(pool="cheap"), Machine("x", "dear", 1, 1)]
    for budget, expected in ((50, []), (90, ["j"])):
        accounts = {"p": an_account(budget_micro_usd=budget)}
        assert started(make_schedule(a_snapshot([job], (), machines, accounts))) == expected


def test_at_the_budget_the_runs_pause_and_nothing_starts():
    accounts = {"p": an_account(budget_micro_usd=100, spent_micro_usd=60)}
    running = [
        a_running("r", "m1", cost_micro_usd=40),
        a_running("asked", "m2", stopping=True),
        a_running("other", "m3", project="q", cost_micro_usd=10**9),
    ]
    schedule = make_schedule(a_snapshot([a_waiting("j", cost=1)], running, idle(), accounts))
    assert schedule.stops == [Stop("r", Cause.BUDGET)]
    assert started(schedule) == []
    said = cause_words(schedule.stops[0], accounts["p"])
    assert "budget of $0.00 is spent" in said
    assert "then resume the job" in said


def test_at_the_last_device_hour_the_runs_pause():
    accounts = {"p": an_account(device_s_max=2 * HOUR_S, device_s=HOUR_S)}
    running = [a_running("r", "m0", for_s=HOUR_S)]
    schedule = make_schedule(a_snapshot((), running, idle(), accounts))
    assert schedule.stops == [Stop("r", Cause.DEVICE_HOURS)]
    assert "2 device-hours is used up" in cause_words(schedule.stops[0], accounts["p"])
