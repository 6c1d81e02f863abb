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
from bench.system import System, a_system

TRAIN_ROW_COUNT = 3000
SEED = 1


def write_unleaked(system: System, lines: list[str], rows: Path, holdout: Path) -> int:
    """Write the lines that do not stand in the hold-out, as the report finds them.

    Returns:
        How many were left out: the official split has a few questions on both sides.
    """
    system.run("up")
    rows.write_text("".join(lines))
    told = system.run("dataset", "upload", str(rows), "--holdout", str(holdout), "--json",
                      check=False)  # fmt: skip
    findings = json.loads(told.stdout)["report"]["findings"]
    leaked = {int(each["line"]) for each in findings if each["code"].startswith("train_test_")}
    rows.write_text("".join(line for at, line in enumerate(lines, 1) if at not in leaked))
    return len(leaked)


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
        left_out = write_unleaked(system, lines[:TRAIN_ROW_COUNT], rows, folder / "test.jsonl")
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
    print(f"{left_out} of {TRAIN_ROW_COUNT:,} training rows were left out: they leak the test")
    kept = (*names, "interval", "verdict", "holdout_rows", "steps")
    figures = {name: outcome[name] for name in kept}
    write("real_data", {"left_out_rows": left_out, **figures})


if __name__ == "__main__":
    main()
