"""One attempt on a Ray cluster: placed, watched and ended through the actors of its gang."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ray.exceptions import ActorUnavailableError, RayError
from ray.util.placement_group import PlacementGroup

from services.trainer.attempt import Attempt
from services.trainer.engine.member import Seen
from services.trainer.engine.verdict import explain, verdict
from services.trainer.gang import Gang
from services.trainer.run import ExitCode, Manifest, Phase
from services.trainer.runtime.stopping import CANCEL, PAUSE, TERMINATE

log = logging.getLogger(__name__)

POLL_S = 0.5
"""Time between two looks at the processes of a run."""
ANSWER_MAX_S = 30.0
"""Longest that a process's actor may take to answer before its machine counts as lost."""
PLACE_MAX_S = 15 * 60.0
"""Longest that a run waits for its devices."""
END_MAX_S = 15.0
"""Longest to wait for actors to end their processes before they are killed."""
HANDED_ON = ("ATTUNE_", "HF_", "TRANSFORMERS_", "TOKENIZERS_", "OMP_", "MKL_", "NCCL_", "GLOO_")
"""How the variables begin that a run on another machine gets from here."""


class Reservations(Protocol):
    """What an attempt needs of its cluster."""

    async def group(self, name: str, size: int) -> PlacementGroup:
        """Return the reservation of that name, made now if there is none."""

    def members(self, name: str, group: PlacementGroup, size: int) -> list[Any]:
        """Return the actors of an attempt by rank, made now where there are none; blocks."""

    async def remove(self, name: str) -> None:
        """Give a reservation back, which ends its actors."""


class RayExecution:
    """One attempt on the cluster."""

    def __init__(
        self, cluster: Reservations, name: str, attempt: Attempt, manifest: Manifest
    ) -> None:
        """Place it in the background, or find it placed.

        Args:
            cluster: Reserves its devices.
            name: Under which the cluster knows it.
            attempt: Where it writes.
            manifest: What is to be done.
        """
        self.abandoned = False
        self.oom_killed = False
        self._cluster = cluster
        self._attempt = attempt
        self._manifest = manifest
        self._size = max(1, int(manifest.placement.get("device_count", 1)))
        self._name = name
        self._members: list[Any] = []
        self._asked: list[bytes] = []
        self._listeners: list[Callable[[], None]] = []
        self._message_count = 0
        self._task = asyncio.create_task(self._run())

    def on_message(self, listener: Callable[[], None]) -> None:
        """Call the listener whenever the run says that something has changed."""
        self._listeners.append(listener)

    def cancel(self) -> None:
        """Ask the run to stop at its next step."""
        self._tell(CANCEL)

    def pause(self) -> None:
        """Ask the run to halt at its next checkpoint."""
        self._tell(PAUSE)

    def terminate(self) -> None:
        """Ask the run to halt because this service ends."""
        self._tell(TERMINATE)

    async def abandon(self) -> None:
        """End the run at once, its lease being no longer ours."""
        self.abandoned = True
        await self.stop()

    async def wait(self) -> int:
        """Wait for the end and return the ExitCode; negative for a signal."""
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.cancelled():  # By `stop`, not the one who waits.
                return ExitCode.ORPHANED
            raise

    async def stop(self) -> None:
        """End the run at once and give its devices back."""
        self._task.cancel()
        await asyncio.wait([self._task])

    def _tell(self, message: bytes) -> None:
        if message in self._asked:
            return
        self._asked.append(message)
        if self._members:
            self._members[0].tell.remote(message)

    async def _run(self) -> int:
        try:
            halted = await self._place()
            return halted if halted is not None else await self._watch()
        except (RayError, TimeoutError) as error:
            if self._attempt.result(Phase.REGISTER) is not None:
                # Its last act was done, whatever became of who watched it.
                return ExitCode.SUCCEEDED
            log.warning("attempt %s: %s", self._name, next(iter(str(error).splitlines()), ""))
            text = "A machine of the cluster was lost, or a process on it, with what ran there."
            explain(self._attempt, self._size, "PROCESS_LOST", text)
            return ExitCode.CRASHED
        finally:
            await self._release()

    async def _place(self) -> int | None:
        """Reserve the devices and start the processes; return how it ended where it did not."""
        group = await self._cluster.group(self._name, self._size)
        begin_s = time.monotonic()
        while not await asyncio.to_thread(group.wait, POLL_S):
            if CANCEL in self._asked:
                return ExitCode.CANCELLED
            if PAUSE in self._asked:
                return ExitCode.PAUSED
            if TERMINATE in self._asked:
                return ExitCode.TERMINATED
            if time.monotonic() - begin_s > PLACE_MAX_S:
                text = f"No {self._size} devices of the cluster were free for {PLACE_MAX_S:.0f} s."
                self._attempt.write_error("NO_DEVICES", text)
                return ExitCode.CRASHED
        self._members = await asyncio.to_thread(
            self._cluster.members, self._name, group, self._size
        )
        host = await answer(self._members[0].host.remote())
        environment = handed_on(self._manifest)
        folder = self._attempt.folder
        for rank, member in enumerate(self._members):
            gang = Gang(rank, self._size, 0, host) if self._size > 1 else None
            own = folder if gang is None else gang.folder(folder)
            also = {} if gang is None else gang.environment()
            await answer(member.start.remote(str(folder), str(own), environment | also))
        for message in self._asked:
            self._members[0].tell.remote(message)
        return None

    async def _watch(self) -> int:
        answered_s = time.monotonic()
        while True:
            polls = (answer(one.poll.remote()) for one in self._members)
            seen = await asyncio.gather(*polls, return_exceptions=True)
            failed = [one for one in seen if isinstance(one, BaseException)]
            for error in failed:
                passing = isinstance(error, ActorUnavailableError | TimeoutError)
                if not passing or time.monotonic() - answered_s > ANSWER_MAX_S:
                    raise error
            found = [one for one in seen if isinstance(one, Seen)]
            if not failed:
                answered_s = time.monotonic()
                self._look_at(found)
                code = verdict([one.code for one in found])
                if code is not None:
                    if code == ExitCode.CRASHED:
                        text = "A process of the run ended without a word."
                        explain(self._attempt, self._size, "CRASHED", text)
                    return code
            await asyncio.sleep(POLL_S)

    def _look_at(self, seen: Sequence[Seen]) -> None:
        self.oom_killed = any(one.oom_killed for one in seen)
        if seen[0].message_count != self._message_count:
            self._message_count = seen[0].message_count
            for listener in self._listeners:
                listener()

    async def _release(self) -> None:
        ends = (answer(member.stop.remote(), END_MAX_S) for member in self._members)
        # One that does not answer is gone, or goes with the reservation.
        await asyncio.gather(*ends, return_exceptions=True)
        await self._cluster.remove(self._name)


async def answer(reference: Any, timeout_s: float = ANSWER_MAX_S) -> Any:
    """Return what an actor or a task answers.

    Raises:
        TimeoutError: If nothing came within the time.
        RayError: If it failed, or is lost.
    """
    async with asyncio.timeout(timeout_s):
        return await asyncio.wrap_future(reference.future())


def handed_on(manifest: Manifest) -> dict[str, str]:
    """Return what the process of a run elsewhere gets from this one's environment."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}
    return kept if manifest.accelerator == "cuda" else {**kept, "CUDA_VISIBLE_DEVICES": ""}
