"""Engines at addresses of the settings: containers, other machines."""

from __future__ import annotations

from services.serving.engines.base_model import BaseModel
from services.serving.engines.host import IsHealthy, Opened


class RemoteHost:
    """An engine that somebody else starts, ends and restarts; we only ask it."""

    external = True

    def __init__(self, address: str) -> None:
        """Keep where it is.

        Args:
            address: Such as `http://vllm:8000`, without a path.
        """
        self._address = address

    async def open(self, model: BaseModel, is_healthy: IsHealthy) -> Opened:
        """Return its address; whether it answers is seen later."""
        return Opened(self._address, is_new=False)

    def is_alive(self) -> bool:
        """Return true: only its answers tell."""
        return True

    async def close(self) -> None:
        """Do nothing."""

    def last_words(self) -> str:
        """Return where it is."""
        return f"It is looked after elsewhere, at {self._address}."
