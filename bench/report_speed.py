"""The first pass over a large dataset file: megabytes a second on one core, and peak memory.

Every line is parsed strictly, checked against all rules of its shape and compared with all others
for equality. The file is made here, from seeded sentences, in a temporary folder that goes away.
Where other programs take turns on the core, the figure by the process's own seconds is the one to
read. With --whole the rest of the report is made too, with the statistics over the sample. Aims:
at least 20 MB/s and less than 300 MB for 2 GB.

Usage: python -m bench.report_speed [--megabytes N] [--whole]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import tempfile
import time
from pathlib import Path

from bench.report import show, write
from services.planner.dataset.file import FileFormat
from services.planner.dataset.report import Others, Sample, build_report, read_sample
from services.planner.dataset.report_structure import read_structure

MEGABYTE = 1_000_000
SEED = 3
WORDS = (
    "the ticket train order parcel account invoice platform late early broken missing blue green "
    "please where when why how much many refund change cancel book morning evening week month"
)
SYSTEM = "You are the help desk of a shop. Answer in one or two sentences."


def make(path: Path, size_bytes: int) -> int:
    """Write chat rows until the file has the size, and return their number."""
    chance, words, count = random.Random(SEED), WORDS.split(), 0
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size_bytes:
            for _ in range(1000):
                question = " ".join(chance.choices(words, k=chance.randint(5, 30)))
                answer = " ".join(chance.choices(words, k=chance.randint(5, 40)))
                messages = [
                    {"role": "system", "content": SYSTEM},
                    {"role": "user", "content": f"{question} {count}?"},
                    {"role": "assistant", "content": f"{answer}."},
                ]
                file.write(json.dumps({"messages": messages}) + "\n")
                count += 1
    return count


def peak_megabytes() -> float:
    """Return the most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2000, help="size of the file")
    parser.add_argument("--whole", action="store_true", help="also make the whole report")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="attune-report-") as folder:
        path = Path(folder) / "rows.jsonl"
        rows = make(path, options.megabytes * MEGABYTE)
        size = path.stat().st_size / MEGABYTE
        before = peak_megabytes()
        start, cpu_start = time.perf_counter(), time.process_time()
        structure = read_structure(path, FileFormat("jsonl"))
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        assert structure.row_count == rows
        assert not structure.counts
        figures = {
            "megabytes": size,
            "rows": rows,
            "structure_s": seconds,
            "structure_mb_per_s": size / seconds,
            "structure_cpu_s": cpu_seconds,
            "structure_mb_per_cpu_s": size / cpu_seconds,
            "structure_peak_mb": peak_megabytes(),
            "peak_before_mb": before,
        }
        if options.whole:
            start = time.perf_counter()
            read = read_sample(path, FileFormat("jsonl"), structure)
            report = build_report(structure, Sample([view for view, _ in read]), Others())
            figures["statistics_s"] = time.perf_counter() - start
            figures["statistics_rows"] = report.sampled_row_count
            figures["whole_peak_mb"] = peak_megabytes()
    show("Report of a large file", ["", "figure"], [[key, each] for key, each in figures.items()])
    write("report_speed", figures)


if __name__ == "__main__":
    main()
