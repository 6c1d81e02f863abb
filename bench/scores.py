"""Scores of predictions against measurements, the same for memory and for time."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

CLOSE = 0.10
UNDER = 0.05

Row = TypeVar("Row")


@dataclass(frozen=True)
class Compared(Generic[Row]):
    """A row, what was measured, what is predicted, and what others predict."""

    row: Row
    measured: float
    expected: float
    high: float
    others: Mapping[str, float]
    is_known: bool
    """Whether the row says its whole configuration."""
    is_fitted: bool
    """Whether a number of the product was read off the row."""

    @property
    def error(self) -> float:
        """Return how far the prediction is above what was measured, as a share of that."""
        return self.expected / self.measured - 1


def score(
    compared: Sequence[Compared[Row]], groups: Mapping[str, Callable[[Row], str]]
) -> dict[str, Any]:
    """Return the figures of all rows, of those held out, and by each group."""
    held_out = [each for each in compared if not each.is_fitted]
    return {
        **figures_of(compared),
        "known_configuration": figures_of([each for each in compared if each.is_known]),
        "held_out": figures_of(held_out),
        "held_out_known": figures_of([each for each in held_out if each.is_known]),
        **{f"by_{name}": _grouped(compared, name_of) for name, name_of in groups.items()},
        "others": others_of(compared),
    }


def figures_of(compared: Sequence[Compared[Row]]) -> dict[str, Any]:
    """Return the figures of some rows; those of none are left out."""
    count = len(compared)
    if not count:
        return {"rows": 0}
    errors = [each.error for each in compared]
    return {
        "rows": count,
        "median_abs_error": statistics.median(map(abs, errors)),
        "mean_error": statistics.mean(errors),
        "within_10pct": sum(abs(error) <= CLOSE for error in errors) / count,
        "under_by_5pct": sum(error < -UNDER for error in errors) / count,
        "beyond_high": sum(each.measured > each.high for each in compared) / count,
        "high_over_expected": statistics.median(each.high / each.expected for each in compared),
    }


def others_of(compared: Sequence[Compared[Row]]) -> dict[str, dict[str, float]]:
    """Return the errors of the others on the same rows."""
    found = {}
    for name in compared[0].others if compared else ():
        errors = [each.others[name] / each.measured - 1 for each in compared]
        found[name] = {
            "median_abs_error": statistics.median(map(abs, errors)),
            "within_10pct": sum(abs(error) <= CLOSE for error in errors) / len(errors),
            "under_by_5pct": sum(error < -UNDER for error in errors) / len(errors),
        }
    return found


def lines_of(figures: Mapping[str, Any]) -> list[list[Any]]:
    """Return the lines of a table: all, the held out, then every group."""
    lines = [["all", *_line(figures)]]
    for name in ("known_configuration", "held_out", "held_out_known"):
        lines.append([name.replace("_", " "), *_line(figures[name])])
    for group in (name for name in figures if name.startswith("by_")):
        lines += [[name[-58:], *_line(each)] for name, each in figures[group].items()]
    return lines


COLUMNS = ["rows of", "rows", "median", "<=10%", "under 5%", "> high", "best other"]


def _grouped(
    compared: Sequence[Compared[Row]], name_of: Callable[[Row], str]
) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Compared[Row]]] = defaultdict(list)
    for each in compared:
        groups[name_of(each.row)].append(each)
    return {
        name: {**figures_of(rows), "others": others_of(rows)}
        for name, rows in sorted(groups.items())
    }


def _line(each: Mapping[str, Any]) -> list[Any]:
    if not each["rows"]:
        return [0, "", "", "", "", ""]
    keys = ("rows", "median_abs_error", "within_10pct", "under_by_5pct", "beyond_high")
    others = each.get("others", {})
    best = min((other["median_abs_error"] for other in others.values()), default="")
    return [*(each[key] for key in keys), best]
