"""What `bench/traces.py` makes of a trace, and that its simulation leaves nobody out."""

import pytest

from bench.traces import (
    DEVICES,
    LONGEST_S,
    POLICIES,
    PROJECTS,
    compare,
    figures_of,
    make_tasks,
    misjudge,
    press,
    read_trace,
)

TASKS = """creation_time,deletion_time,scheduled_time,num_gpu
100,160,100,1
50,90,60,8
50,90,,1
50,,60,1
50,90,60,0
0,999999,0,1
"""


def test_a_list_of_tasks_is_read_by_its_ends_and_sorted_by_arrival(tmp_path):
    """Left out: never scheduled, never ended, without a device, longer than two days."""
    path = tmp_path / "tasks.csv"
    path.write_text(TASKS)
    found = read_trace(path, 10, 0)
    assert [(task.submit_s, task.true_s, task.slots) for task in found] == [(0, 30, 8), (50, 60, 1)]


def test_run_times_alone_get_arrivals_and_widths(tmp_path):
    path = tmp_path / "runtimes.csv"
    path.write_text(f"runtime\n10\n0\n20\n{LONGEST_S + 1}\n")
    found = read_trace(path, 50, 0)
    assert {task.true_s for task in found} == {10.0, 20.0}
    assert found == read_trace(path, 50, 0)
    assert found != read_trace(path, 50, 1)


def test_arrivals_are_pressed_to_the_load():
    tasks = press(make_tasks(None, 200, 0), 0.5)
    work_s = sum(task.slots * task.true_s for task in tasks)
    assert work_s / (tasks[-1].submit_s * DEVICES) == pytest.approx(0.5)
    assert len({task.project for task in tasks}) == PROJECTS


def test_wrong_estimates_are_wrong_by_their_sigma_and_right_without():
    tasks = make_tasks(None, 50, 0)
    assert misjudge(tasks, 0.0, 0) == tasks
    assert any(task.expected_s != task.true_s for task in misjudge(tasks, 0.3, 0))


def test_every_policy_ends_every_task_and_true_estimates_break_no_promise():
    found = compare(lambda seed: make_tasks(None, 120, seed), 1.0, 1, say=lambda text: None)
    assert {row["policy"] for row in found["rows"]} == {policy[0] for policy in POLICIES}
    for row in found["rows"]:
        assert 0 < row["utilisation"] <= 1
        assert 0 < row["fairness"] <= 1
        if row["sigma"] == 0:
            assert row["late"] == 0


def test_one_task_alone_waits_for_nothing():
    from bench.cluster import Cluster
    from services.scheduler.queue.entry import Machine

    machines = [Machine("m0", "all", 8, 8)]
    (task, *_) = make_tasks(None, 3, 0)
    figures = figures_of(Cluster(machines).run([task, *_]), machines)
    assert figures["mean_slowdown"] == pytest.approx(1.0)
