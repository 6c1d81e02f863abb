"""Tries to break out before anything else may run in the sandbox; once per process."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from services.trainer.sandbox import attacks
from services.trainer.sandbox.box import Box, BoxEnded, Limits, SandboxMissing, SourceBroken

TRIED = Limits(
    time_s=1.0,
    memory_bytes=128 * 1024 * 1024,
    file_bytes=1024 * 1024,
    scratch_bytes=4 * 1024 * 1024,
)
"""Tighter than real ones, so that trying takes little."""
TIMES_OVER = 4
"""How far over each limit the attacks go."""
_lock = threading.Lock()


def require_sandbox() -> None:
    """Refuse where code could get out, or no sandbox can be made.

    Raises:
        SandboxMissing: With what is missing, or which attack succeeded.
    """
    with _lock:
        failure = _probed()
    if failure:
        raise SandboxMissing(failure)


@cache
def _probed() -> str:
    """Return what is wrong with the sandbox; empty when all attacks failed."""
    try:
        broken = [name for name, held in try_attacks().items() if not held]
    except (SandboxMissing, BoxEnded, SourceBroken, OSError) as error:
        return str(error)
    return f"Code got through the walls: {', '.join(broken)}." if broken else ""


def try_attacks() -> dict[str, bool]:
    """Return whether the sandbox held against each attack.

    Raises:
        SandboxMissing: If there is none.
        BoxEnded: If an attack ended the interpreter that serves all.
    """
    box = Box(Path(attacks.__file__).read_text(encoding="utf-8"), TRIED)
    try:
        with tempfile.TemporaryDirectory(prefix="attune-probe-") as name, bait(Path(name)) as item:
            return {each: _held(box.grade({"output_text": each}, item)) for each in attacks.ATTACKS}
    finally:
        box.close()


@contextmanager
def bait(folder: Path) -> Iterator[dict[str, Any]]:
    """Give what the attacks go for: listening sockets, a secret, and figures over the limits."""
    secret, path = folder / "secret", folder / "socket"
    secret.write_text("secret")
    secret.chmod(0o600)
    with socket.socket(socket.AF_UNIX) as local, socket.create_server(("127.0.0.1", 0)) as server:
        local.bind(str(path))
        local.listen()
        yield {
            "port": server.getsockname()[1],
            "socket": str(path),
            "secret": str(secret),
            "folder": str(folder),
            "pid": os.getpid(),
            "time_s": TIMES_OVER * TRIED.time_s,
            "memory_bytes": TIMES_OVER * TRIED.memory_bytes,
            "file_bytes": TIMES_OVER * TRIED.file_bytes,
            "scratch_bytes": TRIED.scratch_bytes,
        }


def _held(reply: dict[str, Any]) -> bool:
    """Return whether an attack failed: it scored nothing, or was stopped, in few words."""
    return reply.get("score", 0.0) == 0.0 and len(str(reply)) < 1000
