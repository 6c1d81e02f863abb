"""Messages through a pipe: JSON with its length before it; bounded on both sides."""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any

HEAD_BYTES = 4
FRAME_BYTES_MAX = 16 * 1024 * 1024
"""Longest message."""


class PipeClosed(Exception):
    """The other side is gone, or sent what is no message."""


class Late(Exception):
    """The other side sent nothing in time."""


def write_frame(pipe: int, value: Any) -> None:
    """Send one message.

    Raises:
        PipeClosed: If nobody reads.
        ValueError: If it is too long.
    """
    data = json.dumps(value).encode("utf-8", "surrogatepass")
    if len(data) > FRAME_BYTES_MAX:
        raise ValueError(f"a message of {len(data):,} bytes is over {FRAME_BYTES_MAX:,}")
    left = memoryview(len(data).to_bytes(HEAD_BYTES, "big") + data)
    try:
        while left:
            left = left[os.write(pipe, left) :]
    except OSError:
        raise PipeClosed from None


def read_frame(pipe: int, timeout_s: float | None = None, size_max: int = FRAME_BYTES_MAX) -> Any:
    """Return the next message.

    Args:
        pipe: To read from.
        timeout_s: Longest time for the whole message; None waits without end.
        size_max: Bytes that it may have.

    Raises:
        Late: If it is not there in time.
        PipeClosed: If there is none any more, or it is too long or no JSON.
    """
    ends_s = None if timeout_s is None else time.monotonic() + timeout_s
    size = int.from_bytes(_read(pipe, HEAD_BYTES, ends_s), "big")
    if size > size_max:
        raise PipeClosed
    try:
        return json.loads(_read(pipe, size, ends_s))
    except (ValueError, RecursionError):
        raise PipeClosed from None


def _read(pipe: int, size: int, ends_s: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        if ends_s is not None:
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or not _is_readable(pipe, left_s):
                raise Late
        try:
            part = os.read(pipe, min(size - len(parts), 65536))
        except OSError:
            raise PipeClosed from None
        if not part:
            raise PipeClosed
        parts += part
    return bytes(parts)


def _is_readable(pipe: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
