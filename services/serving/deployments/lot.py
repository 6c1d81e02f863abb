"""Which way a request goes where a canary is tried."""

from __future__ import annotations

import random
from dataclasses import dataclass
from hashlib import sha256

from services.serving.deployments.deployment import Arms

HEADER = "x-attune-canary"
ALWAYS, NEVER = "always", "never"
PARTS = 10_000
"""Hundredths of a percent, into which users are divided."""


@dataclass(frozen=True)
class Lot:
    """What decides it."""

    header: str = ""
    """Of the request: `always`, `never`, or something else, which says nothing."""
    user: str = ""
    """Who asks, as the caller says; the same one always goes the same way. Empty: by chance."""

    def choose(self, arms: Arms) -> str:
        """Return the version that answers; empty if none does."""
        canary = arms.canary
        if canary is None or self.header == NEVER:
            return arms.model_version
        if self.header == ALWAYS:
            return canary.model_version
        # A user who went to the canary stays there while its share grows.
        place = _place(self.user) if self.user else random.randrange(PARTS)
        is_canary = place < canary.percent * PARTS / 100
        return canary.model_version if is_canary else arms.model_version


def _place(user: str) -> int:
    return int.from_bytes(sha256(user.encode()).digest()[:8]) % PARTS
