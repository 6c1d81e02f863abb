"""The head of a cluster as seen from here: whether anybody listens at its address."""

from __future__ import annotations

import asyncio

REACH_MAX_S = 10.0
"""Longest that the head may take to accept a connection."""
LOOK_S = 5.0
"""Time between two looks at the head."""
AWAY_MAX_S = 15.0
"""Longest that the head may be away; Ray itself ends whoever waits for it for a minute."""


class ClusterHead:
    """Knocks at the head's door; Ray's own calls would wait there for minutes."""

    def __init__(self, address: str) -> None:
        """Keep the address, host:port."""
        self.address = address
        self._host, _, self._port = address.rpartition(":")

    async def answers(self) -> bool:
        """Return whether the head accepts a connection now."""
        try:
            async with asyncio.timeout(REACH_MAX_S):
                _, writer = await asyncio.open_connection(self._host, int(self._port))
        except (OSError, TimeoutError, OverflowError):
            return False
        writer.close()
        return True

    async def until_lost(self) -> None:
        """Return once the head has not answered for AWAY_MAX_S."""
        loop = asyncio.get_running_loop()
        heard_s = loop.time()
        while loop.time() - heard_s < AWAY_MAX_S:
            await asyncio.sleep(LOOK_S)  # Nobody tells when a head is gone.
            if await self.answers():
                heard_s = loop.time()
