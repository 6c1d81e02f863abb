"""What the supervisor knows of each process, written for `up` and `status` to read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from cli.home import Home, write_whole


class State(StrEnum):
    """Where a process is, as far as its supervisor can see."""

    RUNNING = "running"
    RESTARTING = "restarting"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class Supervised:
    """One process under supervision."""

    state: State
    restart_count: int = 0
    reason: str = ""
    """Its last words before it last died."""
    on_purpose: bool = False
    """Whether those are a sentence for people, as a service writes that cannot start."""


def write_supervision(home: Home, processes: dict[str, Supervised]) -> None:
    """Keep what is known, by the processes' names."""
    known = {name: asdict(process) for name, process in processes.items()}
    write_whole(home.supervision, json.dumps(known, indent=1) + "\n")


def read_supervision(home: Home) -> dict[str, Supervised]:
    """Return what was kept last; empty when there is nothing."""
    try:
        known = json.loads(home.supervision.read_text())
        return {
            name: Supervised(**{**entry, "state": State(entry["state"])})
            for name, entry in known.items()
        }
    except (OSError, ValueError, TypeError, KeyError):
        return {}
