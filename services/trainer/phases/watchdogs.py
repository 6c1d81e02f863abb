"""What can go wrong quietly while a stage trains, found in its numbers; pure but for its table."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from statistics import fmean, median

import yaml

TABLE = Path(__file__).parents[1] / "recipes" / "watchdogs.yaml"
POINTS_MAX = 1024
"""Newest values of one metric that are remembered; a run logs fewer."""
MEDIAN_COUNT = 32
"""Logs that a running median is taken over."""
MEDIAN_COUNT_MIN = 8
"""Logs before there is a median to compare with."""
START_COUNT = 3
"""Logs whose mean is where a metric started."""
STUCK_COUNT_MIN = 16
"""Logs before a metric can be called stuck; a quarter of them is compared with another."""
ERRORS = 2.0
"""Standard errors of a mean reward that a gap must exceed besides its threshold."""
STUCK_SHARE = 0.5
"""Share of the steps that must be done before."""


class Action(StrEnum):
    """What follows from a finding."""

    WARN = "WARN"
    """It is said, once."""
    PAUSE = "PAUSE"
    """The run halts at a checkpoint and asks a person."""
    STOP = "STOP"
    """The run fails."""


@dataclass(frozen=True)
class Watchdog:
    """One row of the table."""

    name: str
    techniques: Sequence[str]
    """Of SFT, DPO, RLVR, RLAIF."""
    rule: str
    """Name of a function in `RULES`."""
    threshold: float
    metrics: Sequence[str]
    """As the trainer library names them."""
    logs: int
    """Bad ones in a row before it acts, at least 1."""
    action: Action
    reason: str
    """UPPER_SNAKE."""
    says: str
    """The finding; braces hold figures."""
    remedy: str
    """What a person can do; braces hold figures."""
    source: str
    """Of the threshold."""


@dataclass(frozen=True)
class Situation:
    """What the numbers are judged by, besides themselves."""

    learning_rate: float
    vocabulary_size: int
    """Tokens of the model; guessing blindly among them costs its logarithm, in nats."""
    steps_total: int
    validation_count: int
    """Validation rows of one evaluation; few of them leave a mean reward uncertain."""


@dataclass(frozen=True)
class Alarm:
    """A watchdog that acts."""

    watchdog: Watchdog
    message: str
    """The finding with its figures, and the remedy."""
    figures: Mapping[str, float]
    """The numbers behind it, all finite."""


class Series:
    """The values of one metric so far."""

    def __init__(self) -> None:
        """Begin with none."""
        self.values: deque[float] = deque(maxlen=POINTS_MAX)
        self._first: list[float] = []
        self.best = -math.inf

    def add(self, value: float) -> None:
        """Take in the next value."""
        if len(self._first) < START_COUNT:
            self._first.append(value)
        self.values.append(value)
        if value > self.best:
            self.best = value

    @property
    def start(self) -> float:
        """Mean of the first ones; infinite before there is one."""
        return fmean(self._first) if self._first else math.inf


@dataclass(frozen=True)
class Look:
    """One value with what it is compared with."""

    value: float
    step: int
    before: Series
    """Earlier values of the same metric."""
    other: Sequence[float]
    """Of a second metric, those since the last value of this one; empty for most rules."""
    threshold: float
    situation: Situation


Figures = Mapping[str, float]


def _not_finite(look: Look) -> Figures | None:
    return None if math.isfinite(look.value) else {}


def _above(look: Look) -> Figures | None:
    return {} if look.value > look.threshold else None


def _below(look: Look) -> Figures | None:
    return {} if look.value < look.threshold else None


def _at_most(look: Look) -> Figures | None:
    return {} if look.value <= look.threshold else None


def _above_blind(look: Look) -> Figures | None:
    blind = math.log(max(2, look.situation.vocabulary_size))
    return {"blind": blind} if look.value > look.threshold * blind else None


def _above_median(look: Look) -> Figures | None:
    """Find what is far above its recent median and above its start: small numbers may jump."""
    recent = list(look.before.values)[-MEDIAN_COUNT:]
    if len(recent) < MEDIAN_COUNT_MIN:
        return None
    middle, start = median(recent), look.before.start
    if look.value <= look.threshold * middle or look.value <= start:
        return None
    return {"times": look.value / max(middle, 1e-12), "start": start}


def _fallen(look: Look) -> Figures | None:
    best = look.before.best
    return {"best": best} if look.value < best - look.threshold else None


def _stuck(look: Look) -> Figures | None:
    """Find what after half of the steps is no higher in its last quarter than in its first."""
    values = [*look.before.values, look.value]
    if look.step < STUCK_SHARE * look.situation.steps_total or len(values) < STUCK_COUNT_MIN:
        return None
    quarter = len(values) // 4
    start, now = median(values[:quarter]), median(values[-quarter:])
    return {"start": start, "moved": now - start} if now - start < look.threshold else None


def _gap(look: Look) -> Figures | None:
    """Find a second metric whose mean since the last look is above this one's value.

    Both lie in [0, 1]. What the validation rows are too few to tell from chance is not counted.
    """
    if not look.other:
        return None
    earned = fmean(look.other)
    moved = earned - look.value
    # Were there no gap, both were looks at one mean.
    mean = min(1.0, max(0.0, (earned + look.value) / 2.0))
    # A mean of values in [0, 1] is known no worse than that of zeros and ones.
    error = math.sqrt(mean * (1.0 - mean) / max(1, look.situation.validation_count))
    doubt = ERRORS * error
    return {"moved": moved, "doubt": doubt} if moved > look.threshold + doubt else None


RULES: Mapping[str, Callable[[Look], Figures | None]] = {
    "not_finite": _not_finite,
    "above": _above,
    "below": _below,
    "at_most": _at_most,
    "above_blind": _above_blind,
    "above_median": _above_median,
    "fallen": _fallen,
    "stuck": _stuck,
    "gap": _gap,
}
"""Each returns the figures of a finding, or None where a value is as it should be."""


class Watchdogs:
    """Looks at the numbers of one training as they come."""

    def __init__(self, technique: str, situation: Situation) -> None:
        """Choose the rows of a technique: SFT, DPO, RLVR or RLAIF."""
        self._rows = [row for row in load_watchdogs() if technique in row.techniques]
        self._situation = situation
        self._series: dict[str, Series] = {}
        self._since: dict[tuple[str, str], list[float]] = {}
        self._bad: dict[tuple[str, str], int] = {}
        self._acted: set[str] = set()

    def look(self, step: int, values: Mapping[str, float]) -> list[Alarm]:
        """Return what is found in the numbers of a step; each watchdog acts once.

        Args:
            step: Optimizer steps done.
            values: By name, as the trainer library logs them.
        """
        alarms = []
        for row in self._rows:
            for metric in _judged(row):
                if metric in values and row.name not in self._acted:
                    alarm = self._judge(row, metric, step, values[metric])
                    if alarm is not None:
                        self._acted.add(row.name)
                        alarms.append(alarm)
        for name, value in values.items():
            if math.isfinite(value):
                self._series.setdefault(name, Series()).add(value)
                for (metric, _), since in self._since.items():
                    if metric == name:
                        since.append(value)
        return alarms

    def _judge(self, row: Watchdog, metric: str, step: int, value: float) -> Alarm | None:
        other: list[float] = []
        if row.rule == "gap":
            # Both rows of a pair of metrics look at the same values, each at its own time.
            key = (row.metrics[0], row.name)
            other, self._since[key] = self._since.get(key, self._all(row.metrics[0])), []
        before = self._series.get(metric, Series())
        found = RULES[row.rule](
            Look(value, step, before, other[-POINTS_MAX:], row.threshold, self._situation)
        )
        bad = (row.name, metric)
        self._bad[bad] = 0 if found is None else self._bad.get(bad, 0) + 1
        if found is None or self._bad[bad] < row.logs:
            return None
        return self._alarm(row, metric, step, {"value": value, **found})

    def _all(self, metric: str) -> list[float]:
        return list(self._series[metric].values) if metric in self._series else []

    def _alarm(self, row: Watchdog, metric: str, step: int, figures: Figures) -> Alarm:
        words = {
            **figures,
            "metric": metric,
            "step": step,
            "logs": row.logs,
            "threshold": row.threshold,
            "learning_rate": self._situation.learning_rate,
        }
        message = f"{row.says} {row.remedy}".format(**words)
        known = {"step": float(step), "threshold": row.threshold, **figures}
        finite = {name: number for name, number in known.items() if math.isfinite(number)}
        return Alarm(row, message, finite)


@cache
def load_watchdogs() -> tuple[Watchdog, ...]:
    """Return the rows of the table."""
    rows = yaml.safe_load(TABLE.read_text())
    return tuple(Watchdog(**{**row, "action": Action(row["action"])}) for row in rows)


def _judged(row: Watchdog) -> Sequence[str]:
    """Return the metrics whose values are judged; of a gap, the second."""
    return row.metrics[1:] if row.rule == "gap" else row.metrics
