"""Approval to first optimizer step, against a bare TRL script of the same run from the shell.

From the commit of the approval to the end of the first step, less the seconds inside VALIDATE and
BASELINE, which the bare script does not do; they are printed beside it. Aim: at most 0.2. Where
answers are rewarded, both sides evaluate once before the first step, as the plan says.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from bench.bare import run_bare
from bench.report import show, write
from bench.system import System
from bench.techniques import Case
from bench.training import Jobs, a_measured_system, chosen_cases

ROUNDS = 3
STEPS = 2
"""Of each run; only the first is looked at."""
COLUMNS = ["job, s", "checks, s", "bare script, s", "ratio"]


def measure(system: System, case: Case) -> dict[str, Any]:
    """Run three rounds of one technique, print their medians and return all."""
    jobs = Jobs(system, case)
    rows = []
    for _ in range(ROUNDS):
        job = jobs.run(steps_max=STEPS)
        bare = run_bare(case, job.folder)
        start_s = job.approve_to_first_step_s - job.checks_s
        rows.append([start_s, job.checks_s, bare.first_step_s, start_s / bare.first_step_s])
    middle = [median(column) for column in zip(*rows, strict=True)]
    table = [[str(number + 1), *row] for number, row in enumerate(rows)] + [["median", *middle]]
    show(f"{case.technique}: approval to first optimizer step", ["round", *COLUMNS], table)
    return {"rounds": rows, "median_ratio": middle[-1]}


def main() -> None:
    """Measure the techniques that are asked for; examples to imitate when none is."""
    cases = chosen_cases(__doc__, ("sft",))
    with a_measured_system() as system:
        found = {case.technique: measure(system, case) for case in cases}
    write("start_latency", {"columns": COLUMNS, "techniques": found})


if __name__ == "__main__":
    main()
