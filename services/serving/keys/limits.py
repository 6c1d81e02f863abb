"""How much a caller may ask for, and how much of that is left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from services.common.errors import ServiceError

MINUTE_S = 60.0
LIMITS_MAX = {
    "requests_per_minute": 1_000_000,
    "tokens_per_minute": 1_000_000_000,
    "concurrent_requests": 10_000,
}
CONCURRENT_RETRY_S = 1.0
"""When to try again while too many requests run; nobody knows when one ends."""


class LimitReached(ServiceError):
    """A caller has used up what it may ask for."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, limit: str, retry_after_s: float) -> None:
        """Keep which limit it is, and when there is room again.

        Args:
            message: Limit, value and remedy.
            limit: `requests`, `tokens` or `concurrent_requests`, OpenAI's word for the type.
            retry_after_s: In seconds.
        """
        super().__init__(message, reason="RATE_LIMIT_EXCEEDED", limit=limit)
        self.limit = limit
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Limits:
    """How much a key may ask for; None takes the installation's default."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None

    def over(self, default: Limits) -> Limits:
        """Return these limits with the default's where there are none."""
        return Limits(
            self.requests_per_minute or default.requests_per_minute,
            self.tokens_per_minute or default.tokens_per_minute,
            self.concurrent_requests or default.concurrent_requests,
        )


class Bucket:
    """An allowance per minute that refills evenly; what is spent beyond it is owed."""

    def __init__(self, per_minute: int, now_s: float) -> None:
        """Begin full.

        Args:
            per_minute: Allowance, at least 1.
            now_s: Present moment on a clock that only goes forward, in seconds.
        """
        self.per_minute = per_minute
        self._left = float(per_minute)
        self._then_s = now_s

    def left(self, now_s: float) -> float:
        """Return what is left; negative while something is owed."""
        passed_s = max(0.0, now_s - self._then_s)
        self._left = min(float(self.per_minute), self._left + passed_s * self.per_minute / MINUTE_S)
        self._then_s = now_s
        return self._left

    def spend(self, count: int, now_s: float) -> None:
        """Take away what was used, whether or not it is there."""
        self._left = self.left(now_s) - count

    def wait_s(self, least: float, now_s: float) -> float:
        """Return the time until so much is left, in seconds; 0 if it is."""
        return max(0.0, (least - self.left(now_s)) * MINUTE_S / self.per_minute)


class Limiter:
    """What one caller has left. In the memory of the one serving process: a restart refills it."""

    def __init__(self, limits: Limits, clock_s: Callable[[], float]) -> None:
        """Begin with everything left.

        Args:
            limits: With the defaults filled in; None where there is no limit.
            clock_s: A clock that only goes forward, in seconds.
        """
        self._clock_s = clock_s
        now_s = clock_s()
        self._requests = _bucket(limits.requests_per_minute, now_s)
        self._tokens = _bucket(limits.tokens_per_minute, now_s)
        self._concurrent_max = limits.concurrent_requests
        self._running = 0

    def enter(self) -> None:
        """Let a request in; `leave` must follow.

        Raises:
            LimitReached: If a limit is used up; then nothing is counted.
        """
        now_s = self._clock_s()
        if self._concurrent_max is not None and self._running >= self._concurrent_max:
            raise LimitReached(
                f"{self._running:,} requests of this key run, as many as may at once. "
                "Wait for one to end.",
                limit="concurrent_requests",
                retry_after_s=CONCURRENT_RETRY_S,
            )
        if self._requests is not None and (wait_s := self._requests.wait_s(1.0, now_s)):
            raise _used_up("requests", self._requests.per_minute, wait_s)
        if self._tokens is not None and (wait_s := self._tokens.wait_s(1.0, now_s)):
            raise _used_up("tokens", self._tokens.per_minute, wait_s)
        if self._requests is not None:
            self._requests.spend(1, now_s)
        self._running += 1

    def leave(self, token_count: int) -> None:
        """Count the tokens of a request that was let in and has ended."""
        self._running -= 1
        if self._tokens is not None:
            self._tokens.spend(token_count, self._clock_s())

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return OpenAI's headers about what is left."""
        now_s = self._clock_s()
        found: list[tuple[bytes, bytes]] = []
        for name, bucket in ((b"requests", self._requests), (b"tokens", self._tokens)):
            if bucket is not None:
                left = max(0, math.floor(bucket.left(now_s)))
                reset = f"{bucket.wait_s(bucket.per_minute, now_s):.3f}s"
                found += [
                    (b"x-ratelimit-limit-" + name, str(bucket.per_minute).encode()),
                    (b"x-ratelimit-remaining-" + name, str(left).encode()),
                    (b"x-ratelimit-reset-" + name, reset.encode()),
                ]
        return found


def _bucket(per_minute: int | None, now_s: float) -> Bucket | None:
    return None if per_minute is None else Bucket(per_minute, now_s)


def _used_up(limit: str, per_minute: int, wait_s: float) -> LimitReached:
    return LimitReached(
        f"Rate limit reached: the {per_minute:,} {limit} per minute of this key are used up. "
        f"Try again in {wait_s:.1f} s, or ask for a key with a higher limit.",
        limit=limit,
        retry_after_s=wait_s,
    )
