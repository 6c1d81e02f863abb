"""Faulty uploads with a manifest: every planted fault found on its line, no good file refused?

The folder holds `expected.jsonl` (one object per file: file, valid, severity, findings with line,
code and field, compare_with) and may hold `codes.json`, whose `also_accept` names other codes that
are fair for the same line. Every file goes through the whole report in this process.

Usage: python -m bench.bad_files --cases DIR [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attune.planner.v1 import dataset_pb2

from bench.report import machine, show
from services.planner.dataset.file import read_format
from services.planner.dataset.report import (
    Others,
    Sample,
    build_report,
    is_valid,
    read_sample,
)
from services.planner.dataset.report_structure import read_structure


def report_of(path: Path, holdout: Path | None) -> dataset_pb2.DatasetReport:
    """Return the report of a file, with the rows of another as its hold-out."""
    sample, structure = sample_of(path)
    held = sample_of(holdout)[0].views if holdout else ()
    return build_report(structure, sample, Others(holdout=held))


def sample_of(path: Path) -> tuple[Sample, Any]:
    """Return what both passes read of a file."""
    file_format = read_format(path.name, "")
    assert file_format is not None
    structure = read_structure(path, file_format)
    views = [view for view, _ in read_sample(path, file_format, structure)]
    return Sample(views), structure


def judge(
    case: Mapping[str, Any], found: dataset_pb2.DatasetReport, fair: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what of a case's planted faults was found, and what was said beyond them."""
    left = [(item.line, item.code) for item in found.findings]
    missed, wrong_line = [], 0
    for fault in case["findings"]:
        line = fault["line"] or 0
        codes = [fault["code"], *fair.get(fault["code"], {}).get("also_accept", ())]
        hit = next(((line, code) for code in codes if (line, code) in left), None)
        if hit is not None:
            left.remove(hit)
            continue
        elsewhere = next((each for each in left if each[1] in codes), None)
        wrong_line += elsewhere is not None
        missed.append(f"{line}: {fault['code']}")
    return {
        "file": case["file"],
        "faults": len(case["findings"]),
        "missed": missed,
        "wrong_line": wrong_line,
        "beyond": [f"{line}: {code}" for line, code in left],
        "valid": is_valid(found),
    }


def main() -> None:
    """Report on every file and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path, help="holds expected.jsonl")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    folder: Path | None = options.cases
    if folder is None:
        print("skipped: --cases names no folder of faulty files")
        return
    if not (folder / "expected.jsonl").exists():
        print(f"skipped: {folder} does not hold expected.jsonl")
        return
    codes = folder / "codes.json"
    fair = json.loads(codes.read_text()) if codes.exists() else {}
    lines = (folder / "expected.jsonl").read_text().splitlines()
    cases = [json.loads(line) for line in lines if line.strip()]
    judged = []
    for case in cases:
        other = case.get("compare_with")
        found = report_of(folder / case["file"], folder / other if other else None)
        judged.append({**judge(case, found, fair), "wanted_valid": case["valid"]})
    figures = summarise(judged)
    table = [
        [
            each["file"],
            each["faults"],
            each["faults"] - len(each["missed"]),
            "; ".join(each["missed"]),
            "; ".join(each["beyond"]),
        ]
        for each in judged
    ]
    show("Faulty uploads", ["file", "faults", "found", "missed", "beyond"], table)
    print(", ".join(f"{key} {value}" for key, value in figures.items() if key != "failures"))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n")


def summarise(judged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures over all files; a failure is a file with anything but what is planted."""
    fine = [each for each in judged if each["wanted_valid"]]
    faults = sum(each["faults"] for each in judged)
    return {
        "files": len(judged),
        "faults": faults,
        "found": faults - sum(len(each["missed"]) for each in judged),
        "wrong_line": sum(each["wrong_line"] for each in judged),
        "beyond": sum(len(each["beyond"]) for each in judged),
        "valid_files": len(fine),
        "valid_refused": sum(not each["valid"] for each in fine),
        "invalid_taken": sum(each["valid"] for each in judged if not each["wanted_valid"]),
        "failures": [
            {key: each[key] for key in ("file", "missed", "beyond", "valid")}
            for each in judged
            if each["missed"] or each["beyond"] or each["valid"] != each["wanted_valid"]
        ],
    }


if __name__ == "__main__":
    main()
