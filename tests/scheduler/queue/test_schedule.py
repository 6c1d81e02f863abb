"""One pass: what starts, what is promised, what everybody is told."""

import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cluster import Cluster, Task
from services.scheduler.queue.entry import Machine, Promise
from services.scheduler.queue.order import AGED_S
from services.scheduler.queue.schedule import (
    PATIENCE,
    PATIENCE_MAX_S,
    PROMISES_MAX,
    Blocked,
    Rules,
    make_schedule,
)
from services.scheduler.queue.wait import Wait
from tests.scheduler.queue.entries import (
    HOUR_S,
    NOW_S,
    a_running,
    a_snapshot,
    a_waiting,
    busy,
    idle,
    started,
)


def test_equal_facts_give_equal_decisions():
    snapshot = a_snapshot([a_waiting("a"), a_waiting("b", slots=2)], (), idle(2, 2))
    assert make_schedule(snapshot) == make_schedule(snapshot)


def test_an_empty_cluster_and_an_empty_queue_decide_nothing():
    assert not make_schedule(a_snapshot()).starts
    lonely = make_schedule(a_snapshot([a_waiting("a")]))
    assert (lonely.starts, lonely.promises) == ([], {})
    assert lonely.outlooks["a"].start_s is None


def test_a_gang_starts_whole_on_one_machine_or_not_at_all():
    """Eight free slots on eight machines are no room for a gang of two."""
    scattered = [Machine(f"m{index}", "all", 2, 1) for index in range(8)]
    assert started(make_schedule(a_snapshot([a_waiting("wide", slots=2)], (), scattered))) == []
    together = [*scattered, Machine("m8", "all", 2, 2)]
    schedule = make_schedule(a_snapshot([a_waiting("wide", slots=2)], (), together))
    assert schedule.starts[0].machines == ("m8",)


def test_a_gang_wider_than_any_machine_takes_whole_ones():
    three = idle(3, 4)
    schedule = make_schedule(a_snapshot([a_waiting("wide", slots=8)], (), three))
    assert len(schedule.starts[0].machines) == 2
    half = [*idle(1, 4), Machine("m1", "all", 4, 3)]
    running = [a_running("r", "m1", left_s=60)]
    schedule = make_schedule(a_snapshot([a_waiting("wide", slots=8)], running, half))
    assert schedule.promises["wide"] == Promise(NOW_S + 60, ("m0", "m1"))


def test_a_machine_that_asks_is_preferred_among_equals():
    machines = [*idle(3), Machine("asks", "all", 1, 1, asking=True)]
    schedule = make_schedule(a_snapshot([a_waiting("a")], (), machines))
    assert schedule.starts[0].machines == ("asks",)


def test_narrow_jobs_fill_machines_so_that_wide_ones_find_room():
    machines = [Machine("empty", "all", 4, 4), Machine("part", "all", 4, 1)]
    jobs = [a_waiting("narrow", submit_s=0), a_waiting("wide", slots=4)]
    assert sorted(started(make_schedule(a_snapshot(jobs, (), machines)))) == ["narrow", "wide"]


def test_the_first_that_does_not_fit_is_promised_the_end_of_a_run():
    running = [a_running("r", "m0", slots=2, left_s=600)]
    machines = [Machine("m0", "all", 4, 2)]
    schedule = make_schedule(a_snapshot([a_waiting("wide", slots=4)], running, machines))
    assert schedule.promises == {"wide": Promise(NOW_S + 600, ("m0",))}
    outlook = schedule.outlooks["wide"]
    assert (outlook.wait, outlook.position) == (Wait.ROOM, 1)
    assert (outlook.start_s, outlook.end_s) == (NOW_S + 600, NOW_S + 600 + HOUR_S)


@pytest.mark.parametrize(("expected_s", "starts"), [(599, True), (600, True), (601, False)])
def test_a_job_fills_a_hole_only_if_it_is_gone_in_time(expected_s, starts):
    running = [a_running("r", "m0", slots=2, left_s=600)]
    jobs = [
        a_waiting("wide", slots=4, submit_s=0, expected_s=100.0),
        a_waiting("small", slots=1, submit_s=NOW_S, expected_s=expected_s),
    ]
    schedule = make_schedule(a_snapshot(jobs, running, [Machine("m0", "all", 4, 2)]))
    assert started(schedule) == (["small"] if starts else [])
    assert schedule.promises["wide"].start_s == NOW_S + 600


def test_promises_are_bounded_in_each_pool_and_the_rest_is_only_foretold():
    jobs = [a_waiting(f"j{index}", submit_s=index) for index in range(10)]
    schedule = make_schedule(a_snapshot(jobs, [a_running("r")], busy()))
    assert len(schedule.promises) == PROMISES_MAX
    starts = [schedule.outlooks[f"j{index}"].start_s for index in range(10)]
    assert starts == [NOW_S + HOUR_S * (index + 1) for index in range(10)]
    assert schedule.outlooks["j9"].wait is Wait.AHEAD


@pytest.mark.parametrize(
    ("waited_s", "expected_s", "promised"),
    [(199, 100.0, False), (200, 100.0, True), (PATIENCE_MAX_S, 9e9, True)],
)
def test_a_job_is_promised_a_start_when_it_has_waited_long(waited_s, expected_s, promised):
    job = a_waiting("a", submit_s=NOW_S - waited_s, expected_s=expected_s)
    schedule = make_schedule(a_snapshot([job], [a_running("r")], busy()))
    assert bool(schedule.promises) == promised
    assert schedule.outlooks["a"].start_s == NOW_S + HOUR_S


def test_a_promise_stays_when_others_come_first_by_fair_share():
    promise = Promise(NOW_S + 600, ("m0",))
    jobs = [a_waiting("old", project="greedy", promise=promise), a_waiting("new", project="poor")]
    running = [a_running("r", "m0", project="greedy", left_s=600)]
    schedule = make_schedule(a_snapshot(jobs, running, busy()))
    assert schedule.promises["old"] == promise
    assert schedule.promises["new"].start_s >= promise.start_s + HOUR_S


def test_a_promise_that_can_be_kept_sooner_is():
    promise = Promise(NOW_S + 600, ("m0",))
    jobs = [a_waiting("old", promise=promise)]
    assert started(make_schedule(a_snapshot(jobs, (), idle()))) == ["old"]


def test_a_promise_on_a_machine_that_is_gone_is_made_anew():
    jobs = [a_waiting("old", promise=Promise(NOW_S + 5, ("gone",)))]
    schedule = make_schedule(a_snapshot(jobs, [a_running("r")], busy()))
    assert schedule.promises["old"] == Promise(NOW_S + HOUR_S, ("m0",))


def test_a_run_over_its_time_is_expected_a_little_later():
    running = [a_running("r", for_s=10_000, left_s=-50)]
    schedule = make_schedule(a_snapshot([a_waiting("a")], running, busy()))
    assert schedule.promises["a"].start_s == NOW_S + 1000


def test_a_job_that_nothing_can_run_holds_up_nobody():
    jobs = [a_waiting("lost", pools=(), submit_s=0), a_waiting("a")]
    schedule = make_schedule(a_snapshot(jobs, (), idle()))
    assert started(schedule) == ["a"]
    assert schedule.outlooks["lost"].wait is Wait.NOWHERE


def test_the_preferred_pool_is_taken_while_it_has_room():
    machines = [*idle(1, pool="cheap"), Machine("x", "dear", 1, 1)]
    jobs = [a_waiting(f"j{index}", pools=("cheap", "dear"), submit_s=index) for index in (0, 1)]
    schedule = make_schedule(a_snapshot(jobs, (), machines))
    assert [start.option_index for start in schedule.starts] == [0, 1]


def test_after_a_day_a_job_stands_before_every_project():
    old = a_waiting("old", project="greedy", submit_s=NOW_S - AGED_S)
    jobs = [old, *(a_waiting(f"j{index}", project=f"p{index}") for index in range(5))]
    running = [a_running(f"r{index}", project="greedy", for_s=9e5) for index in range(9)]
    assert started(make_schedule(a_snapshot(jobs, running, idle()))) == ["old"]


tasks = st.lists(
    st.tuples(
        st.floats(0, 2000), st.floats(1, 900), st.integers(1, 9), st.integers(0, 3), st.booleans()
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("patience", [0.0, 0.2, PATIENCE])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=tasks)
def test_with_true_estimates_no_promise_is_ever_broken_and_nobody_is_left(patience, drawn):
    """Whatever arrives, whoever is favoured, wherever holes are filled; no slot is used twice."""
    machines = [Machine(f"m{index}", f"pool{index % 2}", 4, 4) for index in range(5)]
    cluster = Cluster(machines, Rules(patience=patience))
    records = cluster.run(
        [
            Task(
                f"t{index:02d}",
                f"team{project}",
                submit_s,
                true_s,
                true_s,
                slots,
                ("pool0", "pool1") if both else ("pool0",),
            )
            for index, (submit_s, true_s, slots, project, both) in enumerate(drawn)
        ]
    )
    assert len(records) == len(drawn)
    for record in records:
        assert record.start_s >= record.task.submit_s
        if record.promise_s is not None:
            assert record.start_s <= record.promise_s + 1e-6


def test_a_flood_of_favoured_jobs_cannot_keep_a_wide_one_waiting():
    """One wide job of a project that has had much, and 300 narrow ones of as many others."""
    source = random.Random(3)
    flood = [
        Task(f"t{index:04d}", f"team{index}", 350.0 * index, true_s, true_s)
        for index in range(300)
        for true_s in [source.uniform(2000, 4000)]
    ]
    wide = [
        Task("before", "greedy", 0.0, 3000.0, 3000.0, 8),
        Task("wide", "greedy", 10.0, 60.0, 60.0, 8),
    ]
    cluster = Cluster([Machine("m0", "all", 8, 8)])
    (record,) = [one for one in cluster.run([*wide, *flood]) if one.task.id == "wide"]
    last_s = flood[-1].submit_s
    assert record.start_s <= AGED_S + 4000 < last_s


@pytest.mark.parametrize("blocked", Blocked)
def test_every_rule_ends_every_job(blocked):
    jobs = [Task(f"t{n}", f"p{n % 3}", n, 50.0 + n, 10.0 + n, 1 + n % 4) for n in range(60)]
    records = Cluster(idle(2, 4), Rules(blocked=blocked)).run(jobs)
    assert len(records) == 60
    assert math.isfinite(max(record.end_s for record in records))
