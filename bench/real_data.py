"""Real data through the product: intents, the form of an answer, preferences. Scores, intervals.

The data are not part of the project: give the folder that holds `banking77` (CC-BY-4.0, PolyAI),
`gsm8k` (MIT, OpenAI) and `pandalm` (Apache-2.0, WeOpenML) with rows as JSON lines. The base is the
starter, of a million parameters, so the figures show that the paths work on data they were not made
for; they are no claim about the tasks.

Usage: python -m bench.real_data FOLDER [--set banking77|gsm8k|preferences] [--trial ROWS]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.real_data_figures import Measured, measured
from bench.real_data_job import train
from bench.real_data_sets import SETS
from bench.report import RESULTS, machine, show, write
from bench.system import System, a_system

COLUMNS = ["set", "technique", "measure", "rows", "base", "few-shot", "tuned",
           "difference, 95 % interval", "verdict"]  # fmt: skip
NAME = "real_data"


def main() -> None:
    """Run the sets that are there, print one table, keep the figures of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds a folder for each set")
    parser.add_argument("--set", choices=SETS, action="append", help="only this one; repeatable")
    parser.add_argument("--trial", type=int, default=0, metavar="ROWS",
                        help="take so many rows at most, and keep no figures")  # fmt: skip
    options = parser.parse_args()
    names = []
    for name in options.set or SETS:
        if lack := SETS[name].lack(options.folder):
            print(f"skipped {name}: {lack}")
        else:
            names.append(name)
    if names:
        with a_system() as system:
            system.run("up")
            run(system, names, options.folder, options.trial)


def run(system: System, names: Sequence[str], folder: Path, trial: int) -> None:
    """Run sets one after another, keep the figures of each as soon as it has ended, show all.

    Args:
        system: Everything runs.
        names: Of SETS.
        folder: Holds their folders.
        trial: Most rows of each, and no figures are kept; 0 for the real sizes.
    """
    table = []
    for name in names:
        trained = train(system, SETS[name], folder, trial)
        found = measured(trained)
        print(f"{name}: {trained.seconds:,.0f} s; {trained.left_out_count} training rows were left "
              "out, for they leak the hold-out")  # fmt: skip
        figures = {
            "techniques": trained.techniques,
            "left_out_rows": trained.left_out_count,
            "measures": [asdict(one) for one in found],
        }
        table += [[name, "+".join(trained.techniques), *_cells(one)] for one in found]
        if not trial:
            keep(name, figures)
    show("Real data, with the starter", COLUMNS, table)


def keep(name: str, figures: Mapping[str, Any]) -> None:
    """Put the figures of one set beside those of the others, each with where it was measured."""
    path = RESULTS / f"{NAME}.json"
    known = json.loads(path.read_text()).get("sets", {}) if path.exists() else {}
    sets = {**known, name: {"machine": machine(), **figures}}
    write(NAME, {"sets": {each: sets[each] for each in SETS if each in sets}})


def _cells(one: Measured) -> list[Any]:
    low, high = one.interval
    return [
        one.measure,
        one.row_count,
        one.base,
        "" if one.few_shot is None else one.few_shot,
        one.tuned,
        f"{one.difference:+.3f} ({low:+.3f} to {high:+.3f})",
        one.verdict,
    ]


if __name__ == "__main__":
    main()
