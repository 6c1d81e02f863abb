"""What a pass over the queue costs, how that grows, and how long an estimate takes.

Usage: python -m bench.queue [--json FILE]

A pass is `make_schedule`, estimates of every job's start included, on machines of 8 slots that are
19 of 20 busy, in 5 pools; jobs of 50 projects take 1 to 8 slots in 1 to 3 of the pools. One core.
Processor time is shown besides, and the growth taken from it, for cores that others use too.
"look" is what the service does besides: reading the queue from SQLite and finding where
jobs can run; cold when no job was placed before, warm when all were. Best of several.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from attune.spec.v1.stage_pb2 import Technique

from bench import report
from bench.queue_service import Service
from services.scheduler.queue.entry import Account, Machine, Option, Running, Snapshot, Waiting
from services.scheduler.queue.schedule import make_schedule

SEED = 1
JOBS = (1_250, 2_500, 5_000, 10_000, 20_000, 40_000)
MACHINES = 500
NAMED = 10_000
"""The size that the aim of 200 ms speaks of."""
SLOTS, POOLS, PROJECTS = 8, 5, 50
FREE_SHARE = 0.05
REPEATS = 7
ESTIMATES = 200
"""Of each kind."""
KINDS = {
    "small": ("Qwen/Qwen3-0.6B", Technique.TECHNIQUE_SFT),
    "usual": ("Qwen/Qwen3-8B", Technique.TECHNIQUE_SFT),
    "large": ("meta-llama/Llama-3.1-70B", Technique.TECHNIQUE_RLVR),
}
"""What is estimated: a model and a technique, with LoRA."""


def snapshot_of(job_count: int, machine_count: int = MACHINES) -> Snapshot:
    """Return a cluster that is nearly full, and a queue."""
    source = random.Random(SEED)
    pools = [f"pool-{index}" for index in range(POOLS)]
    machines, running = [], []
    for index in range(machine_count):
        name, free, left = f"m{index:04d}", 0, SLOTS
        while left:
            slots = min(source.choice((1, 1, 2, 4, 8)), left)
            left -= slots
            if source.random() < FREE_SHARE:
                free += slots
                continue
            project = f"team-{source.randrange(PROJECTS)}"
            start_s, end_s = -5000 * source.random(), 20_000 * source.random()
            job = f"r{len(running)}"
            running.append(Running(job, project, (name,), slots, start_s, end_s))
        machines.append(Machine(name, pools[index % POOLS], SLOTS, free))
    waiting = []
    for index in range(job_count):
        slots, expected_s = source.choice((1, 1, 1, 1, 2, 4, 8)), source.lognormvariate(7, 1.5)
        chosen = source.sample(pools, source.choice((1, 2, 3)))
        options = tuple(Option(pool, slots, expected_s) for pool in chosen)
        project = f"team-{source.randrange(PROJECTS)}"
        waiting.append(Waiting(f"j{index}", project, -80_000 * source.random(), options))
    accounts = {f"team-{index}": Account() for index in range(PROJECTS)}
    return Snapshot(0.0, waiting, running, machines, accounts)


def pass_ms(snapshot: Snapshot) -> dict[str, float]:
    """Return the best and the median time of a pass and its processor time, in milliseconds."""
    times, cpu = [], []
    for _ in range(REPEATS):
        gc.collect()
        begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
        make_schedule(snapshot)
        times.append(1000 * (time.perf_counter() - begin_s))
        cpu.append(1000 * (time.process_time() - begin_cpu_s))
    return {"best_ms": min(times), "median_ms": statistics.median(times), "cpu_ms": min(cpu)}


def curve() -> list[dict[str, float]]:
    """Return the cost of a pass for growing queues, also for each n log n."""
    rows = []
    for count in JOBS:
        times = pass_ms(snapshot_of(count))
        unit = 1e6 * times["cpu_ms"] / (count * math.log2(count))
        rows.append({"jobs": count, **times, "ns_per_n_log_n": unit})
    return rows


def exponent(rows: list[dict[str, float]]) -> float:
    """Return the power of n that processor time grows with, over the last three doublings."""
    first, last = rows[-4], rows[-1]
    return math.log(last["cpu_ms"] / first["cpu_ms"]) / math.log(last["jobs"] / first["jobs"])


async def service_figures(job_count: int) -> dict[str, float]:
    """Return what the service takes for a whole look, and for an estimate, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        service = await Service.start(Path(folder), job_count)
        try:
            cold_s = await service.look_until_all_are_placed()
            warm = [await service.look() for _ in range(REPEATS)]
            estimates = {
                name: [await service.estimate(*kind) for _ in range(ESTIMATES)]
                for name, kind in KINDS.items()
            }
        finally:
            await service.close()
    return {
        "look_cold_ms": 1000 * cold_s,
        "look_warm_ms": 1000 * min(wall for wall, _ in warm),
        "look_warm_cpu_ms": 1000 * min(cpu for _, cpu in warm),
        **{
            f"estimate_{name}_{figure}_ms": 1000 * value
            for name, times in estimates.items()
            for figure, value in {
                "median": statistics.median(wall for wall, _ in times),
                "p99": sorted(times)[int(0.99 * (ESTIMATES - 1))][0],
                "cpu_median": statistics.median(cpu for _, cpu in times),
            }.items()
        },
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = curve()
    table: list[list[Any]] = [list(row.values()) for row in rows]
    columns = ["queued jobs", "best ms", "median ms", "processor ms", "ns per n log n"]
    report.show(f"A pass, {MACHINES} machines", columns, table)
    print(f"grows like n^{exponent(rows):.2f} from {rows[-4]['jobs']:,} to {rows[-1]['jobs']:,}")
    service = asyncio.run(service_figures(NAMED))
    table = [[name, value] for name, value in service.items()]
    report.show(f"The service with {NAMED:,} queued jobs", ["figure", "ms"], table)
    figures = {
        "machines": MACHINES,
        "pass_10000_best_ms": next(row["best_ms"] for row in rows if row["jobs"] == NAMED),
        "pass_10000_cpu_ms": next(row["cpu_ms"] for row in rows if row["jobs"] == NAMED),
        "growth_exponent": exponent(rows),
        "curve": rows,
        **service,
    }
    if options.json:
        options.json.write_text(json.dumps({"machine": report.machine(), **figures}) + "\n")
    else:
        report.write("queue", figures)


if __name__ == "__main__":
    main()
