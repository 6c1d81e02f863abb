"""Attune's queue against simpler ones, on a cluster's trace in simulated time.

Usage: python -m bench.traces [--trace FILE ...] [--tasks 3000] [--load 0.9] [--json FILE]

FILE is Alibaba's list of tasks (columns creation_time, deletion_time, scheduled_time, num_gpu) or
a column `runtime` in seconds (Philly's), for which arrivals and widths are made. Without one, a
trace of the same statistics is made: log-normal run times with Philly's mean and deviation of
the logarithm.

The sample: tasks that ran to an end within two days, so that no service that runs for weeks holds
the cluster; of those the last `--tasks` (Alibaba) or as many at random (Philly). A task takes whole
devices: shares of a GPU count as one. The machines have 8 devices each; there are as many as
make the offered work `--load` of what they can do between the first and the last arrival. The
traces name no projects: each task gets one of 12, whose sizes fall like 1/rank.
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
from pathlib import Path
from typing import Any

from bench import report
from bench.cluster import Cluster, Record, Task
from services.scheduler.queue.entry import Machine, Snapshot, Waiting
from services.scheduler.queue.order import attune_order, first_come_order, share_order
from services.scheduler.queue.schedule import Blocked, Rules

SEED = 7
LONGEST_S = 2 * 86_400.0
SLOTS = 8
PROJECTS = 12
SIGMAS = (0.0, 0.3, 0.7)
SHORT_S = 60.0
"""A slowdown counts a run as at least so long, so that those of a second do not rule it."""
WIDTHS = ((1, 0.80), (2, 0.08), (4, 0.06), (8, 0.06))
"""Devices of made tasks with their shares; our choice, most are narrow as in the traces."""
MADE_SLOTS = 128
"""Devices that made arrivals would keep busy; our choice."""
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
        Rules(first_come_order, Blocked.PROMISE, promises_max=1, foretell=False),
        True,
        False,
    ),
    ("plain fair share", Rules(share_order, Blocked.PASS, foretell=False), True, False),
    ("Attune", Rules(attune_order, Blocked.PROMISE, foretell=False), True, False),
    ("shortest, all-knowing", Rules(shortest_order, Blocked.PASS, foretell=False), False, True),
)


def read_trace(path: Path, count: int) -> list[Task]:
    """Return the sample of a file, with true times as estimates."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    if "runtime" in rows[0]:
        times = [float(row["runtime"]) for row in rows]
        return make_tasks([one for one in times if 1 <= one <= LONGEST_S], count)
    found = []
    for row in rows:
        if int(row["num_gpu"]) < 1 or not row["scheduled_time"] or not row["deletion_time"]:
            continue
        true_s = float(row["deletion_time"]) - float(row["scheduled_time"])
        if 1 <= true_s <= LONGEST_S:
            found.append((float(row["creation_time"]), true_s, int(row["num_gpu"])))
    found.sort()
    return _tasks(found[-count:])


def make_tasks(times: Sequence[float] | None, count: int) -> list[Task]:
    """Return tasks that arrive at random with run times drawn from a list, or log-normal ones."""
    source = random.Random(SEED)
    widths, weights = zip(*WIDTHS, strict=True)
    drawn = []
    for _ in range(count):
        if times is not None:
            true_s = source.choice(times)
        else:
            true_s = min(max(source.lognormvariate(LOG_MEAN, LOG_SIGMA), 1.0), LONGEST_S)
        drawn.append((true_s, source.choices(widths, weights)[0]))
    gap_s = sum(true_s * slots for true_s, slots in drawn) / count / MADE_SLOTS
    rows, now_s = [], 0.0
    for true_s, slots in drawn:
        now_s += source.expovariate(1 / gap_s)
        rows.append((now_s, true_s, slots))
    return _tasks(rows)


def _tasks(rows: Sequence[tuple[float, float, int]]) -> list[Task]:
    source = random.Random(SEED)
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


def misjudge(tasks: Sequence[Task], sigma: float) -> list[Task]:
    """Return the tasks with estimates that are off by a log-normal factor of median 1."""
    source = random.Random(SEED + 1)
    return [
        replace(task, expected_s=task.true_s * math.exp(source.gauss(0.0, sigma))) for task in tasks
    ]


def cluster_of(tasks: Sequence[Task], load: float) -> list[Machine]:
    """Return as many machines as make the offered work so much of what they can do."""
    work_s = sum(task.slots * task.true_s for task in tasks)
    span_s = tasks[-1].submit_s - tasks[0].submit_s
    count = max(2, round(work_s / (span_s * load * SLOTS)))
    return [Machine(f"m{index:03d}", "all", SLOTS, SLOTS) for index in range(count)]


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
    tasks: Sequence[Task], load: float, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Run every policy with every error of the estimates, where that matters to it."""
    machines = cluster_of(tasks, load)
    rows = []
    for name, rules, believes, knows in POLICIES:
        for sigma in SIGMAS if believes else (0.0,):
            begin_s = time.perf_counter()
            cluster = Cluster(machines, rules)
            records = cluster.run(tasks if knows else misjudge(tasks, sigma))
            took_s = time.perf_counter() - begin_s
            figures = figures_of(records, machines)
            figures |= {"passes": cluster.passes, "pass_ms": 1000 * took_s / cluster.passes}
            rows.append({"policy": name, "sigma": sigma if believes else None, **figures})
            say(f"  {name}, sigma {sigma:g}: {took_s:.1f} s")
    return {
        "tasks": len(tasks),
        "machines": len(machines),
        "slots": SLOTS * len(machines),
        "load": load,
        "span_days": tasks[-1].submit_s / 86_400,
        "rows": rows,
    }


def show(title: str, found: dict[str, Any]) -> None:
    """Print one trace's table."""
    head = f"{found['tasks']} tasks, {found['slots']} devices, load {found['load']:g}"
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
    parser.add_argument("--tasks", type=int, default=3000)
    parser.add_argument("--load", type=float, default=0.9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    traces = {path.name: read_trace(path, options.tasks) for path in options.trace}
    figures = {}
    for title, tasks in (traces or {"generated": make_tasks(None, options.tasks)}).items():
        figures[title] = compare(tasks, options.load)
        show(title, figures[title])
    if options.json:
        text = json.dumps({"machine": report.machine(), "traces": figures}, indent=1)
        options.json.write_text(text + "\n")
    else:
        report.write("traces", {"traces": figures})


if __name__ == "__main__":
    main()
