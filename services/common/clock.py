"""Time and identifiers, as things that a test can replace."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Protocol

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, in order.


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return datetime.now(UTC)


def new_id(now: datetime) -> str:
    """Return a new identifier: 26 characters, sorted by time as ULIDs are.

    The first character is a letter, so that the identifier may stand wherever names must begin
    with one.
    """
    number = (int(now.timestamp() * 1000) << 80) | secrets.randbits(80)
    characters = [ALPHABET[(number >> shift) & 31] for shift in range(120, -5, -5)]
    return "a" + "".join(characters)
