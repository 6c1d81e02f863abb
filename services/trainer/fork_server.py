"""Processes forked from one that has torch and TRL imported, so that they start at once.

Whatever is forked here ends with this service, even when that is killed: the fork server when its
alive-pipe closes, a run when its pipe closes, the rendering process when its parent is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, forkserver, get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from services.common.errors import ResourceExhausted, Unavailable
from services.trainer.runtime.stopping import CANCEL, PAUSE, TERMINATE

log = logging.getLogger(__name__)

PRELOAD = "services.trainer.preload"
RUN = "services.trainer.run_process"
RENDER = "services.trainer.data.render"
STOP_GRACE_S = 5.0
"""Time that a run has to see that its pipe is closed, before it is killed."""
POLL_S = 0.05
WORKS_MAX = 8
"""Calls that have, or wait for, a process of their own."""


class RunHandle:
    """A run's process, seen from its supervisor."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        """Keep a started process and our end of its pipe."""
        self._process = process
        self._pipe = pipe
        self.abandoned = False
        """Whether the run was stopped because its lease is no longer ours."""
        self.oom_killed = False
        """Never known here: who supervises counts such kills on this machine."""
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(process.sentinel, self._on_end)

    @property
    def pid(self) -> int:
        """Process id, also that of its group."""
        pid: int = self._process.pid
        return pid

    def on_message(self, listener: Callable[[], None]) -> None:
        """Call the listener whenever the run says that something has changed."""

        def read() -> None:
            try:
                self._pipe.recv_bytes()
            except (EOFError, OSError):
                self._loop.remove_reader(self._pipe.fileno())
            else:
                listener()

        self._loop.add_reader(self._pipe.fileno(), read)

    def cancel(self) -> None:
        """Ask the run to stop at its next step."""
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(CANCEL)

    def pause(self) -> None:
        """Ask the run to halt at its next checkpoint."""
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(PAUSE)

    def terminate(self) -> None:
        """Ask the run to halt because this service ends."""
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(TERMINATE)

    async def abandon(self) -> None:
        """End the run at once, its lease being no longer ours."""
        self.abandoned = True
        await self.stop()

    async def wait(self) -> int:
        """Wait for the end and return the exit code; negative for a signal."""
        await self._ended.wait()
        # The sentinel closes too when the fork server dies; then the run may still be there.
        await self.stop()
        code = self._process.exitcode
        return -signal.SIGKILL if code is None else int(code)

    async def stop(self) -> None:
        """End the run at once: close its pipe and, if it does not see that, kill its group."""
        if not self._pipe.closed:
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()
        deadline = time.monotonic() + STOP_GRACE_S
        while _is_alive(self.pid) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)  # Not our child: there is no event to await.
        if _is_alive(self.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _on_end(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._ended.set()


class ForkServer:
    """Forks runs, the process that renders, and one for each piece of other heavy work."""

    def __init__(self) -> None:
        """Prepare; `warm` starts it."""
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([PRELOAD])
        self._renderer: ProcessPoolExecutor | None = None
        self._single = asyncio.Lock()
        """Held by the call that has a process of its own."""
        self._works: set[asyncio.Task[Any]] = set()

    def warm(self) -> None:
        """Start importing in the background; the environment must be complete by now."""
        forkserver.ensure_running()

    async def start_run(
        self, folder: Path, environment: Mapping[str, str] | None = None
    ) -> RunHandle:
        """Start the run whose attempt lies in the folder.

        Args:
            folder: Of the attempt.
            environment: What its process has besides ours.
        """
        ours, theirs = self._context.Pipe(duplex=True)
        process = self._context.Process(target=_run, args=(dict(environment or {}), folder, theirs))
        # Blocks while the fork server is still importing.
        await asyncio.to_thread(process.start)
        theirs.close()
        return RunHandle(process, ours)

    async def render(self, function: str, *arguments: Any) -> Any:
        """Call a function of `services.trainer.data.render` in a process that stays.

        Raises:
            Unavailable: If that process died; the next call gets a new one.
        """
        if self._renderer is None:
            self._renderer = ProcessPoolExecutor(
                max_workers=1, mp_context=self._context, initializer=_end_with_parent
            )
        pool = self._renderer
        try:
            future = await asyncio.to_thread(pool.submit, _call, RENDER, function, *arguments)
            return await asyncio.wrap_future(future)
        except BrokenProcessPool:
            self._renderer = None
            raise Unavailable(
                "The process that reads rows ended unexpectedly. Try again.",
                reason="RENDERER_ENDED",
            ) from None

    async def once(self, module: str, function: str, *arguments: Any) -> Any:
        """Call a function in a process of its own, which ends with the call; one at a time.

        The work goes on when the caller is cancelled.

        Raises:
            ResourceExhausted: If too many wait.
            Unavailable: If that process died.
        """
        if len(self._works) >= WORKS_MAX:
            raise ResourceExhausted(
                f"{WORKS_MAX} calls wait for a process already. Try again later.",
                reason="TOO_MUCH_WORK",
                work_count=str(WORKS_MAX),
            )
        work = asyncio.create_task(self._once(module, function, *arguments))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        return await asyncio.shield(work)

    async def _once(self, *call: Any) -> Any:
        async with self._single:
            pool = ProcessPoolExecutor(
                max_workers=1, mp_context=self._context, initializer=_end_with_parent
            )
            try:
                future = await asyncio.to_thread(pool.submit, _call, *call)
                return await asyncio.wrap_future(future)
            except BrokenProcessPool:
                raise Unavailable(
                    "The process that worked on it ended unexpectedly, perhaps for want of memory. "
                    "Try again.",
                    reason="WORK_ENDED",
                ) from None
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the rendering process."""
        if self._renderer is not None:
            self._renderer.shutdown(wait=False, cancel_futures=True)


def _run(environment: dict[str, str], folder: Path, pipe: Connection) -> None:
    os.environ.update(environment)
    _call(RUN, "main", folder, pipe)


def _call(module: str, function: str, *arguments: Any) -> Any:
    """Import and call, in the forked process: this service itself never imports torch."""
    return getattr(importlib.import_module(module), function)(*arguments)


def _end_with_parent() -> None:
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            connection.wait([parent.sentinel])
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
