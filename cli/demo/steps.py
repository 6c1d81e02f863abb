"""The steps of a journey, with the time each took and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cli.views.figures import span
from cli.views.screen import Screen


@dataclass
class Step:
    """One step."""

    name: str
    seconds: float = 0.0
    result: str = ""
    """What came of it, in a few words; whoever does the step sets it."""


@dataclass
class Steps:
    """All steps so far, in order."""

    screen: Screen
    done: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[Step]:
        """Announce a step, measure it, and keep it when it ends without an error.

        Args:
            name: Short, for the table.
            title: A sentence about what begins.
        """
        self.screen.heading(title)
        step, began = Step(name), time.monotonic()
        yield step
        step.seconds = time.monotonic() - began
        self.done.append(step)

    def show(self) -> None:
        """Write all steps as one table."""
        rows = [(f"  {step.name}", span(step.seconds), step.result) for step in self.done]
        total_s = sum(step.seconds for step in self.done)
        self.screen.heading("What happened")
        self.screen.table(("  step", "time", "result"), [*rows, ("  all", span(total_s), "")])
