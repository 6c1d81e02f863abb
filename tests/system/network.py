"""A network namespace with nothing but loopback, and commands inside it."""

import os
import subprocess
import sys
from pathlib import Path

ENTER = """
import fcntl, os, socket, struct, sys
# ifr_name "lo", ifr_flags UP | RUNNING; SIOCSIFFLAGS.
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x41))
print("ready", flush=True)
sys.stdin.read()
"""


class LoopbackOnly:
    """Holds a namespace open; nothing in it reaches another machine."""

    def __init__(self) -> None:
        flags = ["-n"] if os.geteuid() == 0 else ["-rn"]
        self._holder = subprocess.Popen(
            ["unshare", *flags, sys.executable, "-c", ENTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self._holder.stdout.readline().strip() != "ready":
            raise OSError(self._holder.stderr.read().strip())

    def prefix(self) -> list[str]:
        """Return what to put before a command so that it runs inside."""
        flags = ["-n"] if os.geteuid() == 0 else ["-U", "-n", "--preserve-credentials"]
        return ["nsenter", "-t", str(self._holder.pid), *flags]

    def close(self) -> None:
        """Let the namespace go; processes inside keep it until they end."""
        self._holder.stdin.close()
        self._holder.wait()


def is_alone(prefix: list[str]) -> bool:
    """Return whether a command run with the prefix sees loopback and no other interface."""
    command = [*prefix, sys.executable, "-c", "import socket; print(socket.if_nameindex())"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return shown.strip() == "[(1, 'lo')]"


def scripts() -> Path:
    """Return the folder of the environment's commands."""
    return Path(sys.executable).parent
