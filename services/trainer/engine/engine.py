"""What an engine is: it starts attempts, tells them to stop, says how they end and what it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from services.trainer.attempt import Attempt
from services.trainer.devices import Device
from services.trainer.run import Manifest


class Execution(Protocol):
    """One attempt under way, as its supervisor sees it."""

    abandoned: bool
    """Whether it was stopped because its lease is no longer ours."""
    oom_killed: bool
    """Whether a machine that it ran on, other than this one, killed it for lack of memory."""

    def on_message(self, listener: Callable[[], None]) -> None:
        """Call the listener whenever the run says that something has changed."""

    def cancel(self) -> None:
        """Ask the run to stop at its next step."""

    def pause(self) -> None:
        """Ask the run to halt at its next checkpoint."""

    def terminate(self) -> None:
        """Ask the run to halt because this service ends."""

    async def abandon(self) -> None:
        """End the run at once, its lease being no longer ours."""

    async def wait(self) -> int:
        """Wait for the end and return the ExitCode; negative for a signal."""

    async def stop(self) -> None:
        """End the run at once and give back what it held."""


class Engine(Protocol):
    """A place where runs execute."""

    name: str
    """As the scheduler knows it: `local` or `ray`."""
    instance: str
    """A UUID; another one says that the runs of the one before are dead."""

    async def devices(self) -> Sequence[Device]:
        """Return what runs may compute on as it is now; nothing while there is nothing.

        Raises:
            Unavailable: If that cannot be asked at present.
        """

    async def free_slot_count(self, held: int) -> int:
        """Return how many more runs of one device can start.

        Args:
            held: Devices of the runs that this service has started, waiting ones included.

        Raises:
            Unavailable: As `devices`.
        """

    async def start(self, attempt: Attempt, manifest: Manifest) -> Execution:
        """Start the attempt, or take up the execution that an earlier call began.

        Raises:
            OSError: If no process can be started.
        """

    async def find(self, attempt: Attempt, manifest: Manifest) -> Execution | None:
        """Return the execution of an attempt that goes on, or None."""

    async def sweep(self, kept: Sequence[Manifest]) -> None:
        """Give back what earlier services of this node hold for attempts other than these."""

    async def close(self) -> None:
        """Let go of what the engine holds; runs were stopped before."""
