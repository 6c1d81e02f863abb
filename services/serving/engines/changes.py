"""Tells whoever waits that something has changed."""

from __future__ import annotations

import asyncio

from services.common.waiting import until_set


class Changes:
    """Wakes all who wait, once each; who comes later waits for the next change."""

    def __init__(self) -> None:
        """Begin with nothing to tell."""
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Wake all who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """Return at the next change, or after a time.

        Args:
            timeout_s: Longest wait, in seconds.
        """
        await until_set(self._event, timeout_s)
