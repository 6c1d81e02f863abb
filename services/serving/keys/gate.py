"""How many requests are answered at once, and who waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from services.common.errors import Unavailable

RETRY_AFTER_S = 5.0


class Gate:
    """Lets requests in up to a bound; a bounded queue waits, first come first served."""

    def __init__(self, running_max: int, waiting_max: int, wait_max_s: float) -> None:
        """Begin empty.

        Args:
            running_max: Requests that are answered at once.
            waiting_max: Requests that wait.
            wait_max_s: Longest wait, in seconds.
        """
        self._running_max = running_max
        self._waiting_max = waiting_max
        self._wait_max_s = wait_max_s
        self._queue: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def try_enter(self) -> bool:
        """Enter if there is room now, and return whether there was; `leave` must follow then."""
        if self.running >= self._running_max:  # Nobody waits while there is room.
            return False
        self.running += 1
        return True

    async def enter(self) -> None:
        """Return when the request may be answered; `leave` must follow.

        Whoever is cancelled while waiting leaves the queue.

        Raises:
            Unavailable: If the queue is full, or the wait too long.
        """
        if self.try_enter():
            return
        if len(self._queue) >= self._waiting_max:
            raise self._overloaded(f"{self._waiting_max:,} wait")
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(self._wait_max_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.leave()  # It was its turn in the very moment in which it gave up.
            else:
                with contextlib.suppress(ValueError):  # Passed over already.
                    self._queue.remove(turn)
            if isinstance(error, TimeoutError):
                raise self._overloaded(f"waited {self._wait_max_s:g} s") from None
            raise

    def leave(self) -> None:
        """Give the place to who waits longest."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _overloaded(self, why: str) -> Unavailable:
        return Unavailable(
            f"The endpoint answers {self._running_max:,} requests at once, and {why}. Try again.",
            reason="ENDPOINT_OVERLOADED",
            retry_after_s=RETRY_AFTER_S,
            running_max=str(self._running_max),
        )
