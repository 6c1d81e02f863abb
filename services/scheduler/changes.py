"""Wakes whoever waits for a change: no polling interval stands between commit and answer."""

from __future__ import annotations

import asyncio

from services.common.database import Database
from services.common.waiting import until_set


class Changes:
    """Tells of commits of this process, and of its end."""

    def __init__(self, database: Database) -> None:
        """Listen to the database's commits."""
        self._next = asyncio.Event()
        self.count = 0
        """Commits so far: what was read at one count is current for as long as it stays."""
        self.closed = False
        """Whether the service stops: nobody should wait any longer."""
        database.on_commit(self._wake)

    def next(self) -> asyncio.Event:
        """Return the event of the next change; take it before looking, so that none is missed."""
        return self._next

    async def wait(self, change: asyncio.Event, timeout_s: float) -> None:
        """Return after the change or the time, whichever comes first.

        Args:
            change: What `next` returned before the look that found nothing.
            timeout_s: In seconds.
        """
        if self.closed:
            return
        await until_set(change, timeout_s)

    def close(self) -> None:
        """Wake everybody for the last time."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self.count += 1
        woken, self._next = self._next, asyncio.Event()
        woken.set()
