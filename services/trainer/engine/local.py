"""The engine of one machine: a warm process forks runs, each on a device of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from uuid import uuid4

from services.trainer.attempt import Attempt
from services.trainer.devices import Device
from services.trainer.engine.engine import Execution
from services.trainer.fork_server import ForkServer, RunHandle
from services.trainer.run import Manifest

SIGHT = "CUDA_VISIBLE_DEVICES"


class LocalEngine:
    """Runs attempts here; they end with this service."""

    name = "local"

    def __init__(self, forks: ForkServer, devices: Sequence[Device]) -> None:
        """Keep what forks, and what there is to compute on."""
        self.instance = str(uuid4())
        self._forks = forks
        self._numbers = in_sight(os.environ.get(SIGHT), len(devices))
        self._devices = [devices[number] for number in self._numbers]
        self._taken: set[int] = set()
        self._holding: set[asyncio.Task[None]] = set()

    async def devices(self) -> Sequence[Device]:
        """Return what runs may compute on."""
        return self._devices

    async def free_slot_count(self, held: int) -> int:
        """Return how many more runs can start: one for each device that none holds."""
        return max(0, len(self._devices) - held)

    async def start(self, attempt: Attempt, manifest: Manifest) -> Execution:
        """Fork a run on a free device of its profile."""
        index = self._choose(str(manifest.placement.get("profile", "")))
        environment = {}
        if manifest.accelerator == "cuda":
            # The driver counts cards by their place on the bus; CUDA would by their speed.
            number = str(self._numbers[index])
            environment = {SIGHT: number, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        self._taken.add(index)
        try:
            run = await self._forks.start_run(attempt.folder, environment)
        except BaseException:
            self._taken.discard(index)
            raise
        holding = asyncio.create_task(self._hold(index, run))
        self._holding.add(holding)
        holding.add_done_callback(self._holding.discard)
        return run

    async def find(self, attempt: Attempt, manifest: Manifest) -> Execution | None:
        """Return None: no run outlives the service that forked it."""
        return None

    async def sweep(self, kept: Sequence[Manifest]) -> None:
        """Do nothing: what a dead service forked has ended, or is ended by its record."""

    async def close(self) -> None:
        """Wait for the ends of runs that were stopped."""
        if self._holding:
            await asyncio.wait(self._holding)

    def _choose(self, profile: str) -> int:
        free = [index for index in range(len(self._devices)) if index not in self._taken]
        fitting = [index for index in free if self._devices[index].profile == profile]
        # A profile that is not here was leased before the machine changed; memory decides then.
        chosen = [*fitting, *free]
        if not chosen:
            raise OSError("no device is free")
        return chosen[0]

    async def _hold(self, index: int, run: RunHandle) -> None:
        await run.wait()
        self._taken.discard(index)


def in_sight(setting: str | None, count: int) -> list[int]:
    """Return the numbers of the devices that runs may use.

    Args:
        setting: What limits the cards in sight, such as `0,2`; None for all. Where it names cards
            otherwise than by number, all are taken to be meant.
        count: Devices there are, at least 1; the processor counts as one.
    """
    named = [part.strip() for part in (setting or "").split(",")]
    if not all(part.isdecimal() for part in named):
        return list(range(count))
    return [number for number in map(int, named) if number < count] or [0]
