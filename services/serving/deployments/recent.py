"""What the database said a moment ago, so that a request needs no round trip to it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

AGE_MAX_S = 1.0
"""A commit of this process is seen at once, one of another process after so long at most."""
ENTRIES_MAX = 1000

T = TypeVar("T")
Read = Callable[[str, str], Awaitable[T]]
"""Reads what has a name; the second argument is the request's field that holds it, for errors."""


class Recent(Generic[T]):
    """Things by name, as they were read; what is not found is never kept."""

    def __init__(self, read: Read[T]) -> None:
        """Keep how to read; nothing is read yet."""
        self._read = read
        self._kept: dict[str, tuple[float, T]] = {}
        self._commits = 0

    async def get(self, name: str, field: str = "name") -> T:
        """Return what has a name.

        Args:
            name: Of the resource.
            field: Request field that holds it.

        Raises:
            ServiceError: Whatever reading raises.
        """
        kept = self._kept.get(name)
        if kept is not None and time.monotonic() - kept[0] < AGE_MAX_S:
            return kept[1]
        commits, begin_s = self._commits, time.monotonic()
        found = await self._read(name, field)
        if commits == self._commits:  # Else it may be what stood there before the commit.
            if len(self._kept) >= ENTRIES_MAX:
                self._kept.clear()
            self._kept[name] = (begin_s, found)
        return found

    def forget(self) -> None:
        """Take note that something was committed."""
        self._commits += 1
        self._kept.clear()
