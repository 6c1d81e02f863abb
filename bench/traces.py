"""Attune's queue against simpler ones, on a cluster's trace in simulated time.

Usage: python -m bench.traces [--trace FILE ...] [--load 0.9 ...] [--tasks 1500] [--seeds 3]
    [--json FILE]

FILE is Alibaba's list of tasks (columns creation_time, deletion_time, scheduled_time, num_gpu) or
a column `runtime` in seconds (Philly's), for which arrivals and widths are made. Besides, or alone
without a file, a trace of the same statistics is made: log-normal run times with the mean and the
deviation of the logarithm of Philly's.

The sample: tasks that ran to an end within two days, so that no service that runs for weeks holds
the cluster; of those the last `--tasks` (Alibaba) or as many at random (Philly). A task takes
whole devices: shares of a GPU count as one. There are 8 machines of 8 devices; the times between
arrivals are all stretched or pressed by one factor, so that the offered work is `--load` of what
the machines can do between the first and the last arrival. The
traces name no projects: each task gets one of 12, whose sizes fall like 1/rank. Each figure is the
mean over the seeds, which draw projects, errors of estimates, and what is made.

Three constants of the queue (`share.HASTE`, `schedule.PROMISES_MAX`, `PATIENCE`) were chosen on
the two files; the made trace was not looked at for that.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import report
from bench.cluster import Cluster, Record, Task
from services.scheduler.queue.entry import Machine, Snapshot, Waiting
from services.scheduler.queue.order import attune_order, first_come_order, share_order
from services.scheduler.queue.schedule import Blocked, Rules

LONGEST_S = 2 * 86_400.0
SLOTS, DEVICES = 8, 64
PROJECTS = 12
LOADS = (0.9, 1.0)
SIGMAS = (0.0, 0.3, 0.7)
SHORT_S = 60.0
"""A slowdown counts a run as at least so long, so that those of a second do not rule it."""
WIDTHS = ((1, 0.80), (2, 0.08), (4, 0.06), (8, 0.06))
"""Devices of made tasks with their shares; our choice, most are narrow as in the traces."""
LOG_MEAN, LOG_SIGMA = 6.85, 2.18
"""Of the logarithm of Philly's 83,154 run times in seconds, as counted from the file."""


def shortest_order(snapshot: Snapshot) -> list[Waiting]:
    """Return all that wait, the shortest first."""
    return sorted(
        snapshot.waiting, key=lambda job: (job.options[0].expected_s, job.submit_s, job.id)
    )


# Name, rules, whether estimates play a part, whether it is told the truth.
POLICIES: tuple[tuple[str, Rules, bool, bool], ...] = (
    ("first come", Rules(first_come_order, Blocked.STOP, foretell=False), False, False),
    (
        "first come + backfill",
        Rules(first_come_order, Blocked.PROMISE, promises_max=1, patience=0.0, foretell=False),
        True,
        False,
    ),
    ("plain fair share", Rules(share_order, Blocked.PASS, foretell=False), True, False),
    ("Attune", Rules(attune_order, Blocked.PROMISE, foretell=False), True, False),
    ("shortest, all-knowing", Rules(shortest_order, Blocked.PASS, foretell=False), False, True),
)


def read_trace(path: Path, count: int, seed: int) -> list[Task]:
    """Return the sample of a file, with true times as estimates."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    if "runtime" in rows[0]:
        times = [float(row["runtime"]) for row in rows]
        return make_tasks([one for one in times if 1 <= one <= LONGEST_S], count, seed)
    found = []
    for row in rows:
        if int(row["num_gpu"]) < 1 or not row["scheduled_time"] or not row["deletion_time"]:
            continue
        true_s = float(row["deletion_time"]) - float(row["scheduled_time"])
        if 1 <= true_s <= LONGEST_S:
            found.append((float(row["creation_time"]), true_s, int(row["num_gpu"])))
    found.sort()
    return _tasks(found[-count:], seed)


def make_tasks(times: Sequence[float] | None, count: int, seed: int) -> list[Task]:
    """Return tasks that arrive at random with run times drawn from a list, or log-normal ones."""
    source = random.Random(seed)
    widths, weights = zip(*WIDTHS, strict=True)
    drawn = []
    for _ in range(count):
        if times is not None:
            true_s = source.choice(times)
        else:
            true_s = min(max(source.lognormvariate(LOG_MEAN, LOG_SIGMA), 1.0), LONGEST_S)
        drawn.append((true_s, source.choices(widths, weights)[0]))
    rows, now_s = [], 0.0
    for true_s, slots in drawn:
        now_s += source.expovariate(1.0)
        rows.append((now_s, true_s, slots))
    return _tasks(rows, seed)


def _tasks(rows: Sequence[tuple[float, float, int]], seed: int) -> list[Task]:
    source = random.Random(seed)
    names = [f"team-{rank:02d}" for rank in range(1, PROJECTS + 1)]
    weights = [1 / rank for rank in range(1, PROJECTS + 1)]
    return [
        Task(
            f"t{index:05d}",
            source.choices(names, weights)[0],
            submit_s - rows[0][0],
            true_s,
            true_s,
            min(slots, SLOTS),
        )
        for index, (submit_s, true_s, slots) in enumerate(rows)
    ]


def misjudge(tasks: Sequence[Task], sigma: float, seed: int) -> list[Task]:
    """Return the tasks with estimates that are off by a log-normal factor of median 1."""
    source = random.Random(seed + 1000)
    return [
        replace(task, expected_s=task.true_s * math.exp(source.gauss(0.0, sigma))) for task in tasks
    ]


def press(tasks: Sequence[Task], load: float) -> list[Task]:
    """Return the tasks with arrivals pressed together or drawn apart, so that they make the load.

    Args:
        tasks: In the order of arrival.
        load: Offered work over what the devices can do from the first to the last arrival.
    """
    work_s = sum(task.slots * task.true_s for task in tasks)
    factor = work_s / (load * DEVICES) / tasks[-1].submit_s
    return [replace(task, submit_s=task.submit_s * factor) for task in tasks]


def figures_of(records: Sequence[Record], machines: Sequence[Machine]) -> dict[str, float]:
    """Return what is compared.

    Utilisation counts from the first to the last arrival. Fairness is Jain's index over the
    projects' mean slowdowns, in (0, 1]: 1 when all wait alike for what they run.
    """
    last_s = max(record.task.submit_s for record in records)
    capacity_s = last_s * sum(machine.slots for machine in machines)
    busy_s = sum(
        record.task.slots * max(0.0, min(record.end_s, last_s) - min(record.start_s, last_s))
        for record in records
    )
    done_s = sorted(record.end_s - record.task.submit_s for record in records)
    by_project: dict[str, list[float]] = defaultdict(list)
    for record in records:
        short_s = max(record.task.true_s, SHORT_S)
        took_s = record.end_s - record.task.submit_s
        by_project[record.task.project].append(max(took_s / short_s, 1.0))
    slow = [sum(row) / len(row) for row in by_project.values()]
    promised = [record for record in records if record.promise_s is not None]
    late = [one for one in promised if one.start_s > (one.promise_s or 0.0) + 1e-6]
    return {
        "mean_s": sum(done_s) / len(done_s),
        "p99_s": done_s[int(0.99 * (len(done_s) - 1))],
        "utilisation": busy_s / capacity_s,
        "fairness": sum(slow) ** 2 / (len(slow) * sum(one * one for one in slow)),
        "mean_slowdown": sum(slow) / len(slow),
        "worst_slowdown": max(slow),
        "promised": len(promised),
        "late": len(late),
    }


def compare(
    read: Callable[[int], list[Task]],
    load: float,
    seeds: int,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run every policy with every error of the estimates, where that matters to it.

    Args:
        read: Returns the tasks of a seed.
        load: Offered work over what the machines can do.
        seeds: How many.
        say: Hears how it goes.
    """
    samples = [press(read(seed), load) for seed in range(seeds)]
    count = DEVICES // SLOTS
    machines = [Machine(f"m{index:02d}", "all", SLOTS, SLOTS) for index in range(count)]
    rows = []
    for name, rules, believes, knows in POLICIES:
        for sigma in SIGMAS if believes else (0.0,):
            begin_s, found = time.perf_counter(), []
            for seed, tasks in enumerate(samples):
                told = tasks if knows else misjudge(tasks, sigma, seed)
                cluster = Cluster(machines, rules)
                found.append(figures_of(cluster.run(told), machines) | {"passes": cluster.passes})
            took_s = time.perf_counter() - begin_s
            means = {key: sum(one[key] for one in found) / seeds for key in found[0]}
            means["pass_ms"] = 1000 * took_s / (seeds * means["passes"])
            rows.append({"policy": name, "sigma": sigma if believes else None, **means})
            say(f"  {name}, sigma {sigma:g}: {took_s:.1f} s")
    return {
        "tasks": len(samples[0]),
        "seeds": seeds,
        "devices": DEVICES,
        "load": load,
        "span_days": sum(tasks[-1].submit_s for tasks in samples) / seeds / 86_400,
        "rows": rows,
    }


def show(title: str, found: dict[str, Any]) -> None:
    """Print one trace's table."""
    head = f"{found['tasks']} tasks, {found['devices']} devices, load {found['load']:g}"
    columns = [
        "policy",
        "sigma",
        "mean h",
        "p99 h",
        "use",
        "Jain",
        "slowdown",
        "worst",
        "promised",
        "late",
    ]
    report.show(
        f"{title}: {head}",
        columns,
        [
            [
                row["policy"],
                "-" if row["sigma"] is None else f"{row['sigma']:g}",
                row["mean_s"] / 3600,
                f"{row['p99_s'] / 3600:.1f}",
                row["utilisation"],
                row["fairness"],
                f"{row['mean_slowdown']:.1f}",
                f"{row['worst_slowdown']:.1f}",
                int(row["promised"]),
                int(row["late"]),
            ]
            for row in found["rows"]
        ],
    )


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path, action="append", default=[])
    parser.add_argument("--load", type=float, action="append", default=[])
    parser.add_argument("--tasks", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    readers: dict[str, Callable[[int], list[Task]]] = {
        path.name: partial(read_trace, path, options.tasks) for path in options.trace
    }
    readers["made"] = partial(make_tasks, None, options.tasks)
    figures = {}
    for title, read in readers.items():
        for load in options.load or LOADS:
            found = compare(read, load, options.seeds)
            show(title, found)
            figures[f"{title}, load {load:g}"] = found
    if options.json:
        text = json.dumps({"machine": report.machine(), "traces": figures}, indent=1)
        options.json.write_text(text + "\n")
    else:
        report.write("traces", {"traces": figures})


if __name__ == "__main__":
    main()
