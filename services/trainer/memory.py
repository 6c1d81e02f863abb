"""What a process and its machine say of memory; Linux, standard library only."""

from __future__ import annotations

import contextlib
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
VMSTAT = Path("/proc/vmstat")
CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")
FORGET_PEAK = "5"
"""What resets the highest resident size when it is written to clear_refs; see proc(5)."""


def peak_resident_bytes() -> int:
    """Return the most memory that was resident of this process since the last restart; 0 unknown.

    The libraries that it shares with the process it was forked from are counted with it.
    """
    return _number(STATUS, "VmHWM:") * 1024


def restart_peak() -> None:
    """Forget the peak; where the system does not allow it, it stays that of the whole process."""
    with contextlib.suppress(OSError):
        CLEAR.write_text(FORGET_PEAK)


def limit_bytes(cgroup: Path = CGROUP, cgroups: Path = CGROUPS) -> int | None:
    """Return the least memory that our control groups allow; None where there is no limit.

    Groups of version 2 only, which every container engine of today makes.
    """
    limits = []
    with contextlib.suppress(OSError):
        for line in cgroup.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers:
                continue
            # In a container the path may be that of the host; then only the root is there.
            group = cgroups / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(cgroups):
                    limits += _limit(folder / "memory.max")
    return min(limits, default=None)


def _limit(file: Path) -> list[int]:
    """Return the limit in a file, if it is there and not `max`."""
    try:
        text = file.read_text().strip()
    except OSError:
        return []
    return [int(text)] if text.isdecimal() else []


def oom_kill_count(vmstat: Path = VMSTAT, cgroup: Path = CGROUP, cgroups: Path = CGROUPS) -> int:
    """Return how many processes were killed for lack of memory, on this machine and in our groups.

    One that is killed may be counted several times; what matters is whether the number rises.
    """
    total = _number(vmstat, "oom_kill")
    with contextlib.suppress(OSError):
        for line in cgroup.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # Version 2 has one tree of groups.
                total += _in_group(cgroups, path, "memory.events")
            elif "memory" in controllers.split(","):
                total += _in_group(cgroups / "memory", path, "memory.oom_control")
    return total


def _in_group(root: Path, path: str, name: str) -> int:
    # In a container the path is that of the host, and our group is what is mounted as the root.
    folder = root / path.lstrip("/")
    file = folder / name if (folder / name).exists() else root / name
    return _number(file, "oom_kill")


def _number(path: Path, name: str) -> int:
    """Return the number after a name at the start of a line; 0 without one."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdecimal():
            return int(words[1])
    return 0
