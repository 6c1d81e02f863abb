"""Keeps the planned processes running: `python -m cli.launcher.supervisor`.

It watches processes by id and start time, not as its children, so a supervisor that is started
again takes over what runs already. SIGHUP makes it look at the plan again; SIGTERM ends everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from cli.home import Home
from cli.launcher.cores import divide, usable_cores
from cli.launcher.launch import Launch
from cli.launcher.nats_config import write_nats_config
from cli.launcher.process_end import process_ended
from cli.launcher.process_plan import PlannedProcess, process_plan
from cli.launcher.recorded import recorded_command
from cli.launcher.restart import Restarts
from cli.launcher.supervision import State, Supervised, write_supervision
from cli.launcher.teardown import GRACE_S, SUPERVISOR, end_supervised
from cli.log_files import last_words, open_log, read_tail
from services.common.processes import ProcessFolder, ProcessRecord
from services.common.telemetry import configure_logging

log = logging.getLogger(__name__)

REFUSED = 1
"""Exit code of a service that says in one line why it cannot start."""


class Supervisor:
    """Runs one task per planned process until it is told to stop."""

    def __init__(self, home: Home, plan: Callable[[], Sequence[PlannedProcess]]) -> None:
        """Prepare; nothing is started yet.

        Args:
            home: Holds records, logs and what `supervision` tells others.
            plan: Returns what is to run now; asked again after SIGHUP.
        """
        self._home = home
        self._plan = plan
        self._folder = ProcessFolder(home.root)
        self._known: dict[str, Supervised] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Keep everything running until SIGTERM or SIGINT, then end everything."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._look_again)
        self._look_again()
        await stop.wait()
        log.info("stopping")
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await asyncio.to_thread(end_supervised, self._folder)

    def _look_again(self) -> None:
        for process in self._plan():
            task = self._tasks.get(process.name)
            if task is None or task.done():
                self._known.pop(process.name, None)  # What was given up gets another chance.
                keep = self._keep(process)
                self._tasks[process.name] = asyncio.create_task(keep, name=process.name)
        write_supervision(self._home, self._known)

    async def _keep(self, process: PlannedProcess) -> None:
        restarts = Restarts()
        while not restarts.given_up:
            began = time.monotonic()
            record, child, log_offset = await self._adopt_or_start(process)
            self._note(process.name, State.RUNNING, restarts)
            await process_ended(record.pid)
            code = child.wait() if child is not None else None
            reason, plain = last_words(read_tail(self._home.log(process.name), log_offset))
            log.warning("%s ended: %s", process.name, reason)
            # What it leaves behind holds its port or its files.
            await asyncio.to_thread(self._folder.end, record, GRACE_S)
            restarts = restarts.after_death(time.monotonic() - began)
            state = State.GIVEN_UP if restarts.given_up else State.RESTARTING
            self._note(process.name, state, restarts, reason, plain and code == REFUSED)
            if not restarts.given_up:
                await asyncio.sleep(restarts.delay_s)

    async def _adopt_or_start(
        self, process: PlannedProcess
    ) -> tuple[ProcessRecord, subprocess.Popen[bytes] | None, int]:
        """Return the process, itself if it is a child of ours, and where its log begins."""
        path = self._home.log(process.name)
        found = self._folder.find(process.name)
        if found is not None and found.is_alive():
            log.info("%s runs already as %d", process.name, found.pid)
            return found, None, path.stat().st_size if path.exists() else 0
        if found is not None:
            await asyncio.to_thread(self._folder.end, found, GRACE_S)
        return self._start(process)

    def _start(self, process: PlannedProcess) -> tuple[ProcessRecord, subprocess.Popen[bytes], int]:
        with open_log(self._home.log(process.name)) as output:
            offset = output.tell()
            child = subprocess.Popen(
                recorded_command(process.name, self._home.root, process.command),
                env=dict(process.environment),
                cwd=self._home.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        log.info("%s started as %d", process.name, child.pid)
        # It writes its record itself; a second writer could get in its way.
        began = psutil.Process(child.pid).create_time()
        return ProcessRecord(process.name, child.pid, began), child, offset

    def _note(
        self,
        name: str,
        state: State,
        restarts: Restarts,
        reason: str | None = None,
        on_purpose: bool = False,
    ) -> None:
        if reason is None and name in self._known:  # Why it died last stays worth knowing.
            reason, on_purpose = self._known[name].reason, self._known[name].on_purpose
        self._known[name] = Supervised(state, restarts.count, reason or "", on_purpose)
        write_supervision(self._home, self._known)


def planned(home: Home) -> Sequence[PlannedProcess]:
    """Return what the launch file asks for, with the files that it needs."""
    launch = Launch.find(home)
    if launch is None:
        return ()
    write_nats_config(home, launch.ports.nats)
    (home.root / "tracking").mkdir(exist_ok=True)
    cores = divide(usable_cores())
    return process_plan(launch, home, cores, Path(sys.prefix), os.environ)


def main(launcher_pid: int) -> None:
    """Supervise the home that the environment names.

    Args:
        launcher_pid: Of the process that started this one.

    Raises:
        SystemExit: If another supervisor does so already, or the launcher is gone before this one
            could be found by its record.
    """
    # Until there is a handler; what SIGHUP would tell is read after that anyway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    home = Home.read()
    home.lock.parent.mkdir(parents=True, exist_ok=True)
    with home.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"Another supervisor already looks after {home.root}.") from None
        ProcessFolder(home.root).record_self(SUPERVISOR)
        if os.getppid() != launcher_pid:
            ProcessFolder(home.root).forget(SUPERVISOR)
            raise SystemExit("The launcher is gone.")
        configure_logging(SUPERVISOR, os.environ.get("ATTUNE_LOG_LEVEL", "INFO"))
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(Supervisor(home, lambda: planned(home)).run())
        ProcessFolder(home.root).forget(SUPERVISOR)


if __name__ == "__main__":
    main(int(sys.argv[1]))
