"""What tests change in the process of a run before it begins."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import time
from pathlib import Path

from services.trainer.run import Phase

MIB = 1024**2
HANG_S = 600.0


def ask_for_a_stop_at(phase: Phase, signal: str) -> None:
    """Set a signal as a phase begins, without the deadline that would end the process."""
    from services.trainer.runtime.run_context import RunContext

    begin = RunContext.begin

    def begin_and_ask(self: RunContext, begun: Phase) -> None:
        begin(self, begun)
        if begun is phase:
            getattr(self._signals, signal).set()

    RunContext.begin = begin_and_ask  # type: ignore[method-assign]


def hang_in(function: str, deadline_s: float) -> None:
    """Let a phase look up no more, and be ended after so many seconds."""
    from services.trainer import run_process
    from services.trainer.runtime import stopping

    stopping.CANCEL_MAX_S = stopping.PAUSE_MAX_S = stopping.TERMINATE_MAX_S = deadline_s
    setattr(run_process, function, lambda *_: time.sleep(HANG_S))


def look_out_for(rows: list[dict[str, object]]) -> None:
    """Replace the table of watchdogs."""
    from services.trainer.phases import watchdogs

    found = tuple(
        watchdogs.Watchdog(**{**row, "action": watchdogs.Action(row["action"])}) for row in rows
    )
    watchdogs.load_watchdogs = lambda: found  # type: ignore[assignment]


def take_every_sample() -> None:
    """Let the model in training answer at each evaluation, whatever time that takes."""
    from services.trainer.recipes import bridge

    bridge.SAMPLES_SHARE_MAX = 1000.0


def take_no_samples() -> None:
    """Let the model in training answer nothing."""
    from services.trainer.phases import train

    train.sample_rows = lambda _: []  # type: ignore[assignment]


def limit_memory(spare_mib: int) -> None:
    """Allow this process so much address space beside what it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + spare_mib * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def put_on_a_small_disk(folder: Path, size: int, shown: Path) -> None:
    """Mount a file system of so many bytes in the folder; at the end, copy what is on it.

    The mount is seen by this process alone.
    """
    from services.trainer import run_process
    from services.trainer.phases import validate

    validate.bytes_needed = lambda *_: 0  # Others fill the disk after VALIDATE has looked.
    kept = shown.with_name(shown.name + "-begun")
    shutil.copytree(folder, kept)
    mount_small(folder, size)
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    leave = os._exit

    def copy_and_leave(code: int) -> None:
        shutil.copytree(folder, shown)
        leave(code)

    run_process.os._exit = copy_and_leave  # type: ignore[attr-defined]


def mount_small(folder: Path, size: int) -> None:
    """Mount a file system in memory, for this process alone.

    Raises:
        OSError: If the system does not allow it.
    """
    new_users, new_mounts, private, recursive = 0x10000000, 0x00020000, 1 << 18, 1 << 14
    libc = ctypes.CDLL(None, use_errno=True)
    flags = new_mounts | (0 if os.getuid() == 0 else new_users)
    options = f"size={size}".encode()
    for failed in (
        lambda: libc.unshare(flags),
        lambda: libc.mount(None, b"/", None, private | recursive, None),
        lambda: libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, options),
    ):
        if failed():
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))


def signal_at_step(step: int, number: int) -> None:
    """Send this process a signal when so many optimizer steps are done."""
    from services.trainer.phases.training_watch import TrainingWatch

    on_step = TrainingWatch.on_step

    def step_and_signal(self: TrainingWatch, done: int) -> None:
        if done == step > self.step:
            os.kill(os.getpid(), number)
        on_step(self, done)

    TrainingWatch.on_step = step_and_signal  # type: ignore[method-assign]
