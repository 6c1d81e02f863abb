"""Predicted against measured training throughput, by source, method and device.

Usage: python -m bench.runtime [--rows CSV] [--json FILE]

The table's columns are those that bench/runtime_rows.py names; `architectures.csv` and `gpus.csv`
lie beside it. Without --json the figures go to bench/results/runtime.json. Errors are of the time
of a step: `under_by_5pct` is the share that took more than 5 % longer than predicted.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attune.spec.v1.stage_pb2 import Method

from bench import report
from bench.runtime_rows import Row, read_rows
from bench.scores import COLUMNS, Compared, lines_of, score
from services.scheduler.runtime import HIGH_FACTOR, step_s

MFU = 0.4
"""What guides to training speed tell people to reckon with."""
# Rows that an efficiency of profiles.yaml or a constant of runtime.py was read off.
FITTED = (("fms-acceleration", "Mistral-7B"), ("MetaMathQA", ""), ("QwenLM", "Qwen-7B"))
GROUPS = {
    "source": lambda row: row.source,
    "method": lambda row: row.method_name,
    "device": lambda row: row.device,
}


def main() -> None:
    """Read, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.rows is None:
        print(
            "runtime: pass --rows with a table of measured throughputs; "
            "it is not part of this repository."
        )
        return
    if not options.rows.is_file():
        raise SystemExit(f"There is no {options.rows}. Pass --rows with measured throughputs.")
    figures = figures_of(read_rows(options.rows))
    report.show("Step time, predicted against measured", COLUMNS, lines_of(figures))
    rest = [[name, figures[name]] for name in ("unsupported", "high_over_expected")]
    rest += [
        [f"{name}, median", each["median_abs_error"]] for name, each in figures["others"].items()
    ]
    report.show("And", ["figure", "value"], rest)
    if options.json is None:
        report.write("runtime", figures)
    else:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def figures_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Return all figures of a table."""
    compared = [_compare(row) for row in rows if row.shape is not None and row.tokens_per_s]
    figures = score(compared, GROUPS)
    figures.setdefault("high_over_expected", None)
    return {
        **figures,
        "unsupported": sum(row.shape is None for row in rows),
        "unsupported_by_reason": Counter(row.reason for row in rows if row.reason),
        "without_a_speed": sum(row.shape is not None and not row.tokens_per_s for row in rows),
    }


def _compare(row: Row) -> Compared[Row]:
    if row.shape is None or row.profile is None or row.tokens_per_s is None:
        raise ValueError(f"A row of {row.source} has nothing to compare.")
    batching = row.batching
    tokens = batching.micro_batch_size * batching.gradient_accumulation_steps * row.token_count
    expected = step_s(row.shape, row.method, row.profile, batching, row.token_count)
    parameters, rate = row.shape.parameter_count, row.profile.flops_per_s
    forward_and_back = 6 if row.method == Method.METHOD_FULL else 4
    return Compared(
        row=row,
        measured=tokens / row.tokens_per_s,
        expected=expected,
        high=expected * HIGH_FACTOR,
        others={
            "six_n_at_40_mfu": 6 * parameters * tokens / (MFU * rate),
            "six_or_four_n_at_40_mfu": forward_and_back * parameters * tokens / (MFU * rate),
        },
        is_known=row.known,
        is_fitted=any(
            name in row.source and row.shape.id.startswith(model) for name, model in FITTED
        ),
    )


if __name__ == "__main__":
    main()
