"""Waiting for an event for some time at most."""

from __future__ import annotations

import asyncio
import contextlib


async def until_set(event: asyncio.Event, timeout_s: float) -> None:
    """Return when an event is set, or after a time.

    `asyncio.wait_for` would lose a cancellation that comes in the moment in which the event is set
    (Python 3.11), and a loop that is to end would go on for ever.

    Args:
        event: What is waited for.
        timeout_s: Longest wait, in seconds.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
