"""Seconds in TRAIN against the bare TRL script's training of the same steps. Aim: at most 1.02.

The same rows, settings, threads, cores, evaluations and saves; serving stopped; interleaved
A B B A, so that a drift of the machine falls on both. TRAIN also loads the model, which the script
does before its clock starts: about a second, whatever the length of the run. So each run takes the
better part of a minute. Techniques that are not named keep the figures that they had.
"""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from bench.bare import run_bare
from bench.report import RESULTS, show, write
from bench.system import System
from bench.techniques import CASES, Case
from bench.training import Jobs, a_measured_system, chosen_cases, stop_serving

NAME = "training_overhead"
ORDER = "ABBA"
WARM_UP_STEPS = 2
"""Of a job that is not measured: the first one reads all files from the disk."""


def measure(system: System, case: Case) -> dict[str, Any]:
    """Run job and script of one technique by turns and return their seconds.

    Raises:
        SystemExit: If the two did not do the same steps.
    """
    jobs = Jobs(system, case)
    jobs.run(steps_max=WARM_UP_STEPS)
    seconds: dict[str, list[float]] = {"A": [], "B": []}
    steps = set()
    for side in ORDER:
        if side == "A":
            job = jobs.run()
            seconds[side].append(job.train_s)
            steps.add(job.step_count)
        else:
            bare = run_bare(case, job.folder)
            seconds[side].append(bare.train_s)
            steps.add(bare.step_count)
    if len(steps) > 1:
        raise SystemExit(f"{case.technique}: job and script did different steps, {sorted(steps)}")
    ratio = median(seconds["A"]) / median(seconds["B"])
    return {"steps": steps.pop(), "seconds": seconds, "ratio": ratio}


def main() -> None:
    """Measure the techniques that are asked for, one after the other, and print the ratios."""
    cases = chosen_cases(__doc__, tuple(CASES))
    path = RESULTS / f"{NAME}.json"
    kept = json.loads(path.read_text()).get("techniques", {}) if path.exists() else {}
    found = {}
    with a_measured_system() as system:
        stop_serving(system)
        for case in cases:
            found[case.technique] = measure(system, case)
            show_one(case.technique, found[case.technique])
    rows = [
        [name, one["steps"], median(one["seconds"]["A"]), median(one["seconds"]["B"]), one["ratio"]]
        for name, one in found.items()
    ]
    columns = ["medians", "steps", "job's TRAIN, s", "bare script, s", "ratio"]
    show("Seconds in training", columns, rows)
    write(NAME, {"order": ORDER, "techniques": kept | found})


def show_one(name: str, one: dict[str, Any]) -> None:
    """Print the pairs of one technique as soon as they are there."""
    pairs = zip(*one["seconds"].values(), strict=True)
    rows = [[str(index + 1), *pair] for index, pair in enumerate(pairs)]
    show(f"{name}: ratio {one['ratio']:.3f}", ["", "job's TRAIN, s", "bare script, s"], rows)


if __name__ == "__main__":
    main()
