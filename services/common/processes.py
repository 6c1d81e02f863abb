"""A record of every process we start, so that whoever comes later can end or adopt it.

Each process leads a session, and thereby a process group, of its own, and is ended by group: some
outlive a killed parent, under another title. A record holds the start time, for process ids come
again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

POLL_S = 0.05
KILL_TIMEOUT_S = 5.0
"""How long a killed process may take to be gone; the kernel may still be giving back its memory."""


@dataclass(frozen=True)
class ProcessRecord:
    """A process we started."""

    name: str
    """Unique in the folder, such as `planner` or `run-a01b`."""
    pid: int
    """Also the id of its process group."""
    start_time: float
    """As the kernel reports it, in seconds since the epoch."""

    def is_alive(self) -> bool:
        """Return whether the very process, not another with its id, still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.start_time) < 1.0
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class ProcessFolder:
    """The records under `$ATTUNE_HOME/run/`."""

    def __init__(self, home: Path) -> None:
        """Keep the folder; it is made when the first record is written."""
        self._folder = home / "run"

    def record(self, name: str, pid: int) -> ProcessRecord:
        """Write down a process that leads its own session, and return the record.

        Raises:
            psutil.NoSuchProcess: If it has ended already.
        """
        record = ProcessRecord(name, pid, psutil.Process(pid).create_time())
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(record)))
        temporary.rename(path)
        return record

    def record_self(self, name: str) -> None:
        """Write down the present process; make it lead a group first if it does not.

        In a container the init process has made it lead one, and then no session can be made.

        Raises:
            SystemExit: If the folder cannot be written, in one line that says what to do.
        """
        if os.getpgid(0) != os.getpid():
            os.setsid()
        try:
            self.record(name, os.getpid())
        except OSError as error:
            raise SystemExit(
                f"{self._folder} cannot be written ({error.strerror}). "
                "Set ATTUNE_HOME to a folder that can, or free some space."
            ) from None

    def find(self, name: str) -> ProcessRecord | None:
        """Return the record of that name, whether or not the process still runs."""
        return self._read(self._folder / f"{name}.json")

    def all(self) -> list[ProcessRecord]:
        """Return every record."""
        records = (self._read(path) for path in sorted(self._folder.glob("*.json")))
        return [record for record in records if record is not None]

    def forget(self, name: str) -> None:
        """Remove a record."""
        (self._folder / f"{name}.json").unlink(missing_ok=True)

    def end(self, record: ProcessRecord, grace_s: float) -> None:
        """End a process and its whole group: ask, wait, then force; and forget it.

        Args:
            record: The process.
            grace_s: Longest time to wait before force, in seconds.
        """
        members = group_members(record)
        _signal(members, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and (members := group_members(record)):
            time.sleep(POLL_S)  # Other processes end meanwhile; nothing to await.
        _signal(members, signal.SIGKILL)
        psutil.wait_procs(members, timeout=KILL_TIMEOUT_S)
        self.forget(record.name)

    def _read(self, path: Path) -> ProcessRecord | None:
        try:
            return ProcessRecord(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def group_members(record: ProcessRecord) -> list[psutil.Process]:
    """Return the live processes of a record's group that began no earlier than its leader.

    A group keeps its number from being given again, so when the number leads to another process
    than the recorded one, the group is gone and the newcomer is not ours.
    """
    members: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        if abs(psutil.Process(record.pid).create_time() - record.start_time) >= 1.0:
            return members
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            ours = os.getpgid(process.pid) == record.pid
            young = process.create_time() >= record.start_time - 1.0
            if ours and young and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


def _signal(members: list[psutil.Process], number: int) -> None:
    for process in members:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
