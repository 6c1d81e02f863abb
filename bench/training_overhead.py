"""Seconds in TRAIN against the bare TRL script's training of the same steps. Aim: at most 1.02.

The same rows, threads, cores, evaluations and saves; serving stopped; interleaved A B B A, so that
a drift of the machine falls on both. TRAIN also loads the model and encodes the rows, which the
script does before its clock starts: about a second, whatever the length of the run. So the run is
as long as the demo's.
"""

from __future__ import annotations

from statistics import median

from bench.report import show, write
from bench.system import a_system
from bench.training import JobTimes, run_bare, run_job, stop_serving

ORDER = "ABBA"
EPOCHS = 11
"""As the recipe for the starter has it."""


def main() -> None:
    """Run job and script by turns and print the ratio of the medians."""
    seconds: dict[str, list[float]] = {"A": [], "B": []}
    with a_system() as system:
        system.run("up")
        job: JobTimes = run_job(system, EPOCHS)  # Warms the disk's cache, and shapes the script.
        stop_serving(system)
        for side in ORDER:
            if side == "A":
                seconds[side].append(run_job(system, EPOCHS).train_s)
            else:
                seconds[side].append(run_bare(job)["train_s"])
    ratio = median(seconds["A"]) / median(seconds["B"])
    rows = [[str(i + 1), *pair] for i, pair in enumerate(zip(*seconds.values(), strict=True))]
    rows.append(["median", median(seconds["A"]), median(seconds["B"])])
    show(f"Seconds in training; ratio {ratio:.3f}", ["", "job, TRAIN", "bare script"], rows)
    write("training_overhead", {"order": ORDER, "seconds": seconds, "ratio": ratio})


if __name__ == "__main__":
    main()
