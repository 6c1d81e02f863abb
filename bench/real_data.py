"""The journey on real data: Banking77, 3,000 training rows, the official test rows as hold-out.

The data are not part of the project (CC-BY-4.0, PolyAI): give their folder, which holds
`train.jsonl` and `test.jsonl` as chat rows. The base is the starter, so the figure shows that the
path works on data it was not made for; it is no claim about the task.

Usage: python -m bench.real_data FOLDER
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from bench.report import show, write
from bench.system import a_system

TRAIN_ROW_COUNT = 3000
SEED = 1


def main() -> None:
    """Run the journey and print the scores with their interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds train.jsonl and test.jsonl")
    folder: Path = parser.parse_args().folder
    if not (folder / "train.jsonl").exists():
        print(f"skipped: {folder} does not hold train.jsonl")
        return
    lines = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    random.Random(SEED).shuffle(lines)
    with a_system() as system:
        rows, outcome_path = system.home / "train.jsonl", system.home / "outcome.json"
        rows.write_text("".join(lines[:TRAIN_ROW_COUNT]))
        system.run(
            *("demo", "--approve", "--json", str(outcome_path), "--dataset", str(rows)),
            *("--holdout", str(folder / "test.jsonl")),
            check=False,
        )
        outcome = json.loads(outcome_path.read_text())
    names = ("base_score", "few_shot_score", "majority_score", "tuned_score", "difference")
    table = [[name, outcome[name]] for name in names]
    table += [["interval, low", outcome["interval"][0]], ["interval, high", outcome["interval"][1]]]
    show(f"Banking77, {outcome['holdout_rows']} unseen rows: {outcome['verdict']}",
         ["", "accuracy"], table)  # fmt: skip
    kept = (*names, "interval", "verdict", "holdout_rows", "steps")
    write("real_data", {name: outcome[name] for name in kept})


if __name__ == "__main__":
    main()
