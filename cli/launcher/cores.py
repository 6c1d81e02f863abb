"""Divides the machine's cores between training runs and the serving engine.

Undivided, a training step beside a loaded engine takes ten to twenty times as long; divided, a
tenth more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

ENGINE_SHARE = 4
"""One core in so many goes to the engine, but at least one."""


@dataclass(frozen=True)
class Cores:
    """Core numbers for each side, ascending; both have at least one."""

    runs: tuple[int, ...]
    engine: tuple[int, ...]

    def environment(self) -> dict[str, str]:
        """Return the settings that hand the division on; one OpenMP thread per core."""
        return {
            "ATTUNE_TRAINER_CPUS": ",".join(map(str, self.runs)),
            "ATTUNE_TRAINER_THREADS": str(len(self.runs)),
            "ATTUNE_SERVING_ENGINE_CPUS": ",".join(map(str, self.engine)),
        }


def usable_cores() -> list[int]:
    """Return the cores that this process may run on."""
    return sorted(os.sched_getaffinity(0))


def divide(usable: Sequence[int]) -> Cores:
    """Give the last cores to the engine and the others to runs.

    Args:
        usable: Core numbers, ascending, at least one. A single one is shared.
    """
    if len(usable) == 1:
        return Cores(runs=tuple(usable), engine=tuple(usable))
    count = max(1, len(usable) // ENGINE_SHARE)
    return Cores(runs=tuple(usable[:-count]), engine=tuple(usable[-count:]))
