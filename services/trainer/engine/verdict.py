"""What the ends of several processes mean for the attempt that they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.trainer.attempt import Attempt
from services.trainer.gang import Gang
from services.trainer.run import ExitCode

CRASHED = "CRASHED"
"""Reason that says no more than that."""
HARMLESS = (ExitCode.SUCCEEDED, ExitCode.CANCELLED)
"""How a process ends that followed to the end of training, or stopped with the first one."""


def verdict(codes: Sequence[int | None]) -> int | None:
    """Return how an attempt has ended, or None while it goes on.

    Args:
        codes: Exit codes of its processes by rank; None of those that run.
    """
    leader, *followers = codes
    if leader is not None:
        return leader
    broken = any(code is not None and code not in HARMLESS for code in followers)
    # The first process would wait for the broken one.
    return ExitCode.CRASHED if broken else None


def explain(attempt: Attempt, size: int, reason: str, message: str) -> None:
    """Leave in the attempt why it did not go on: the most telling of what its processes said.

    When one process crashes, the others crash of the connection that broke: so one that names a
    reason of its own, such as OUT_OF_MEMORY, is believed first, and one that says CRASHED last.

    Args:
        attempt: Its folder.
        size: Its processes.
        reason: What is known from outside, or CRASHED where nothing is.
        message: The sentence that belongs to it.
    """
    folders = [Gang(rank, size, 0, "").folder(attempt.folder) for rank in range(size)]
    told = [error for folder in folders if (error := Attempt(folder).error()) is not None]
    known = {"reason": reason, "message": message}
    telling = [error for error in told if error.get("reason") != CRASHED]
    vague = [error for error in told if error.get("reason") == CRASHED]
    chosen: dict[str, Any] = [*telling, *([known] if reason != CRASHED else []), *vague, known][0]
    attempt.write_error(**chosen)
