"""Which adapters stay in the engine when there is room for a few only."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

LORAS_MAX = 16
"""Adapters that the engine holds at once; never more, so that it evicts none by itself."""
DEPLOYED_MAX = LORAS_MAX - 1
"""Different adapters that may be deployed; the last place is for proofs, trials and switches."""


@dataclass
class Place:
    """One adapter in the engine."""

    last_use: int
    """Counts uses of all adapters; larger is later."""
    user_count: int = 0
    """Requests that need it now."""


def choose_victim(places: Mapping[str, Place], deployed: Set[str]) -> str | None:
    """Return the adapter to unload: neither deployed nor in use, least recently used.

    Args:
        places: What the engine holds, by adapter hash.
        deployed: Hashes of adapters behind an alias.

    Returns:
        Its hash, or None if every adapter must stay for now.
    """
    idle = {
        adapter: place.last_use
        for adapter, place in places.items()
        if place.user_count == 0 and adapter not in deployed
    }
    return min(idle, key=lambda adapter: idle[adapter], default=None)
