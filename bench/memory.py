"""Predicted against measured peak memory, by source, technique and method, beside public rules.

Usage: python -m bench.memory [--rows CSV] [--json FILE]

The table's columns are those that bench/memory_rows.py names; `architectures.csv` and `gpus.csv`
lie beside it. Without --json the figures go to bench/results/memory.json. Rows of a technique or
method that is not offered, and of a model whose architecture is unknown, are counted as
unsupported; publishers' own estimates are counted apart. None of them enters an error.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import report
from bench.estimators import OTHERS
from bench.frameworks import Reading
from bench.memory_rows import Row, read_rows
from bench.scores import COLUMNS, Compared, lines_of, score
from services.scheduler.memory import MemoryEstimate, Range, predict
from services.scheduler.memory.library import read_table

# Rows that numbers of libraries.yaml were read off, by what their source holds and their model
# begins with; all others are held out. It decides what is counted as held out, and no prediction.
# Two mechanisms, without a number of their own, were found on the held-out Mistral-7B rows: rotary
# factors that each layer keeps, and adapters that keep float32 inputs in float16 runs.
FITTED = (
    ("fms-acceleration", "Llama-3-8B"),
    ("litgpt", "meta-llama/Llama-2-7b-hf"),
    ("torchtune", "Llama-3.2-3B"),
    ("MetaMathQA/results/lora--llama-3.2-3B-rank64", ""),
)
GROUPS = {
    "source": lambda row: row.source,
    "technique": lambda row: row.technique,
    "method": lambda row: row.method,
    "reading": lambda row: row.reading.value,
}


def main() -> None:
    """Read, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.rows is None:
        print(
            "memory: pass --rows with a table of measured peaks; it is not part of this repository."
        )
        return
    if not options.rows.is_file():
        raise SystemExit(f"There is no {options.rows}. Pass --rows with a table of measured peaks.")
    figures = figures_of(read_rows(options.rows))
    report.show("Peak memory, predicted against measured", COLUMNS, lines_of(figures))
    _show_rest(figures)
    if options.json is None:
        report.write("memory", figures)
    else:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def figures_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Return all figures of a table."""
    measured = [row for row in rows if row.measured]
    offered = [row for row in measured if row.training is not None]
    compared = [_compare(row) for row in offered if row.peak_bytes]
    return {
        **score(compared, GROUPS),
        "unsupported": len(measured) - len(offered),
        "unsupported_by_reason": Counter(row.reason for row in measured if row.reason),
        "estimates_of_publishers": len(rows) - len(measured),
        "without_a_peak": len(offered) - len(compared),
        "fit": _fit(offered),
        "libraries": sorted(read_table()[0]),
    }


def _compare(row: Row) -> Compared[Row]:
    if row.training is None or row.worst is None or row.peak_bytes is None:
        raise ValueError(f"A row of {row.source} has nothing to compare.")
    expected = _read(predict(row.training), row.reading)
    worst = _read(predict(row.worst), row.reading)
    return Compared(
        row=row,
        measured=row.peak_bytes,
        expected=expected.expected_bytes,
        high=max(expected.high_bytes, worst.high_bytes),
        others={name: rule(row.training) for name, rule in OTHERS.items()},
        is_known=row.known,
        is_fitted=any(name in row.source and row.model.startswith(model) for name, model in FITTED),
    )


def _read(estimate: MemoryEstimate, reading: Reading) -> Range:
    """Return the prediction of the quantity that was measured."""
    return {
        Reading.ALLOCATED: estimate.allocated,
        Reading.RESERVED: estimate.reserved,
        Reading.PROCESS: estimate.process,
    }[reading]


def _fit(offered: Sequence[Row]) -> dict[str, int]:
    """Return how often a prediction says rightly whether a row fits its card.

    The prediction is what must be there, at its expected value; a row that was refused ran out of
    memory.
    """
    counts = {"fits_fits": 0, "fits_oom": 0, "oom_fits": 0, "oom_oom": 0}
    for row in offered:
        if row.capacity_bytes is None or row.training is None:
            continue
        fits = predict(row.training).expected_bytes <= row.capacity_bytes
        said, was = "fits" if fits else "oom", "oom" if row.out_of_memory else "fits"
        counts[f"{said}_{was}"] += 1
    return counts


def _show_rest(figures: dict[str, Any]) -> None:
    counted = [[name, figures[name]] for name in ("unsupported", "estimates_of_publishers")]
    counted += [["high over expected, median", figures.get("high_over_expected", "")]]
    for name, count in figures["fit"].items():
        said, was = name.split("_")
        counted += [[f"said {said}, was {was}", count]]
    for name, each in figures["others"].items():
        counted += [[f"{name}, median", each["median_abs_error"]]]
    report.show("And", ["figure", "value"], counted)


if __name__ == "__main__":
    main()
