"""Seconds by step of the whole journey, cold and warm, and the peak memory by process.

Cold: an empty home, so the starter model is made. Warm: again, with everything running.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from typing import Any

import psutil

from bench.report import show, write
from bench.system import System, a_system

SAMPLE_S = 0.5
GIB = 1024**3


class MemorySampler:
    """Samples the proportional set size of every process, so that shared pages count once."""

    def __init__(self, system: System) -> None:
        """Prepare; sampling begins with the `with` block."""
        self._system = system
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peak: dict[str, int] = defaultdict(int)
        self.peak_together = 0

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            now: dict[str, int] = defaultdict(int)
            for process in self._system.processes():
                try:
                    now[self._system.name_of(process)] += process.memory_full_info().pss
                except psutil.Error:
                    continue
            for name, size in now.items():
                self.peak[name] = max(self.peak[name], size)
            self.peak_together = max(self.peak_together, sum(now.values()))


def journey(system: System, name: str) -> dict[str, Any]:
    """Run the demo once and return what it wrote."""
    path = system.home / f"{name}.json"
    system.run("demo", "--approve", "--json", str(path))
    outcome: dict[str, Any] = json.loads(path.read_text())
    return outcome


def main() -> None:
    """Run both journeys, print both tables."""
    with a_system() as system, MemorySampler(system) as memory:
        cold = journey(system, "cold")
        warm = journey(system, "warm")
    seconds = {run: {step["name"]: step["seconds"] for step in outcome["steps"]}
               for run, outcome in (("cold", cold), ("warm", warm))}  # fmt: skip
    names = list(dict.fromkeys([*seconds["cold"], *seconds["warm"]]))
    rows = [[name, *(seconds[run].get(name, 0.0) for run in ("cold", "warm"))] for name in names]
    rows.append(["together", sum(seconds["cold"].values()), sum(seconds["warm"].values())])
    show("Journey, seconds by step", ["step", "cold", "warm"], rows)
    show(
        "Peak memory, GiB",
        ["process", "peak"],
        [[name, size / GIB] for name, size in sorted(memory.peak.items(), key=lambda i: -i[1])]
        + [["everything together", memory.peak_together / GIB]],
    )
    kept = ("base_score", "few_shot_score", "majority_score", "tuned_score", "interval", "verdict")
    write(
        "journey",
        {
            "seconds": seconds,
            "peak_gib": {name: size / GIB for name, size in memory.peak.items()},
            "peak_together_gib": memory.peak_together / GIB,
            "scores": {run: {key: outcome[key] for key in kept}
                       for run, outcome in (("cold", cold), ("warm", warm))},
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
