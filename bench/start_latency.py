"""Approval to first optimizer step, against a bare TRL script of the same run from the shell.

From the commit of the approval to the end of the first step, less the seconds inside VALIDATE and
BASELINE, which the bare script does not do; they are printed beside it. Aim: at most 0.2.
"""

from __future__ import annotations

from statistics import median

from bench.report import show, write
from bench.system import a_system
from bench.training import run_bare, run_job

ROUNDS = 3


def main() -> None:
    """Run three rounds and print their medians."""
    rows = []
    with a_system() as system:
        system.run("up")
        for _ in range(ROUNDS):
            job = run_job(system, epochs=1)
            bare = run_bare(job)
            start_s = job.approve_to_first_step_s - job.checks_s
            rows.append(
                [start_s, job.checks_s, bare["first_step_s"], start_s / bare["first_step_s"]]
            )
    middle = [median(column) for column in zip(*rows, strict=True)]
    columns = ["round", "job, s", "checks, s", "bare script, s", "ratio"]
    table = [[str(number + 1), *row] for number, row in enumerate(rows)] + [["median", *middle]]
    show("Approval to first optimizer step", columns, table)
    write("start_latency", {"rounds": rows, "median_ratio": middle[3], "columns": columns[1:]})


if __name__ == "__main__":
    main()
