"""Where an engine runs: in a process of ours, or at an address that others look after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from services.serving.engines.base_model import BaseModel

IsHealthy = Callable[[str], Awaitable[bool]]
"""Asks the engine at an address whether it is alive."""


class EngineFailed(Exception):
    """The engine did not become ready; the text says why."""


@dataclass(frozen=True)
class Opened:
    """An engine that loads or answers."""

    address: str
    """Such as `http://127.0.0.1:7190`."""
    is_new: bool
    """Whether it was started just now."""


class Host(Protocol):
    """Holds one engine at a time."""

    external: bool
    """Whether somebody else starts and ends it."""

    async def open(self, model: BaseModel, is_healthy: IsHealthy) -> Opened:
        """Return an engine for a model, adopted or started; it may still load.

        Raises:
            EngineFailed: If there is none and none can be started.
        """

    def is_alive(self) -> bool:
        """Return whether it can still become ready or stay so."""

    async def close(self) -> None:
        """End the engine, if it is ours to end."""

    def last_words(self) -> str:
        """Return what is known about its end, and where to read more."""
