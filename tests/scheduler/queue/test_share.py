"""Fair share between projects, priority and patience within one."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.queue.entry import HALF_LIFE_S, Priority
from services.scheduler.queue.share import HASTE, decay, fair_order, used_shares
from tests.scheduler.queue.entries import (
    HOUR_S,
    NOW_S,
    a_running,
    a_snapshot,
    a_waiting,
    an_account,
)


def order(jobs, running=(), accounts=None):
    return [job.id for job in fair_order(jobs, a_snapshot(jobs, running, (), accounts))]


def test_past_use_counts_half_after_each_half_life():
    assert decay(80.0, 0.0) == 80.0
    assert decay(80.0, 3 * HALF_LIFE_S) == pytest.approx(10.0)
    assert decay(80.0, -5.0) == 80.0


def test_the_project_that_had_least_is_next():
    jobs = [a_waiting("a", project="had"), a_waiting("b", project="had-not")]
    assert order(jobs, accounts={"had": an_account(recent_s=10.0)}) == ["b", "a"]


def test_what_runs_counts_whole_from_its_start():
    jobs = [a_waiting("a", project="runs"), a_waiting("b", project="rests")]
    running = [a_running("r", project="runs", for_s=0, left_s=HOUR_S)]
    assert order(jobs, running) == ["b", "a"]
    assert used_shares(a_snapshot((), running)) == {"runs": HOUR_S}


def test_turns_are_in_proportion_to_the_weights():
    jobs = [a_waiting(f"{name}{n}", project=name) for n in range(60) for name in ("one", "three")]
    accounts = {"one": an_account(1.0), "three": an_account(3.0)}
    first = Counter(name.rstrip("0123456789") for name in order(jobs, accounts=accounts)[:40])
    assert first == {"three": 30, "one": 10}


def test_a_project_is_charged_for_what_its_jobs_take():
    jobs = [a_waiting(f"long{n}", project="long", expected_s=HOUR_S) for n in range(2)]
    jobs += [a_waiting(f"short{n}", project="short", expected_s=HOUR_S / 4) for n in range(8)]
    first = order(jobs)[:6]
    assert sum(name.startswith("short") for name in first) == 4


def test_priority_ranks_within_a_project_and_moves_no_other():
    jobs = [
        a_waiting("low", priority=Priority.LOW, submit_s=0),
        a_waiting("high", priority=Priority.HIGH),
        a_waiting("normal"),
        a_waiting("other", project="q", submit_s=5),
    ]
    assert [name for name in order(jobs) if name != "other"] == ["high", "normal", "low"]
    assert order(jobs).index("other") <= 1


@pytest.mark.parametrize("later_s", [0.9, 1.1])
def test_a_short_job_passes_one_that_is_not_much_older(later_s):
    long_s, short_s = 1000.0, 400.0
    gap_s = later_s * HASTE * (long_s - short_s)
    jobs = [
        a_waiting("long", submit_s=NOW_S - gap_s, expected_s=long_s),
        a_waiting("short", submit_s=NOW_S, expected_s=short_s),
    ]
    assert order(jobs)[0] == ("short" if later_s < 1 else "long")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.floats(1, 1e5))))
def test_the_order_holds_every_job_once(drawn):
    jobs = [
        a_waiting(f"j{n}", project=f"p{project}", priority=Priority(rank), expected_s=expected_s)
        for n, (project, rank, expected_s) in enumerate(drawn)
    ]
    assert sorted(order(jobs)) == sorted(job.id for job in jobs)
