"""The engines of one model, and which of them answers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from services.common.errors import ResourceExhausted, Unavailable
from services.serving.engines.adapters import Adapters
from services.serving.engines.base_model import BaseModel
from services.serving.engines.engine import Engine, EngineState
from services.serving.engines.weights import Weights

RETRY_AFTER_S = 5.0
REST_S = 30.0
"""How long an engine without requests is left alone before another model may take its place: two
models that are asked for by turns would else do nothing but start."""


@dataclass
class Member:
    """One engine in its group."""

    engine: Engine
    adapters: Adapters
    task: asyncio.Task[None]
    place: int | None
    """Number of its place among the processes; None at an address."""
    user_count: int = 0

    async def end(self, reason: str) -> None:
        """End the engine."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.engine.stop(reason)


@dataclass
class Group:
    """The engines of one model."""

    model: BaseModel
    members: list[Member] = field(default_factory=list)
    last_use_s: float = field(default_factory=time.monotonic)
    refusal: str = ""
    """Why it has fewer engines than it should; empty when it has them all."""

    @property
    def user_count(self) -> int:
        """Requests that are answered now."""
        return sum(member.user_count for member in self.members)

    @property
    def share(self) -> float:
        """How much of an engine each of the requests has that are answered now, in (0, 1]."""
        return min(1.0, max(1, len(self.ready())) / max(1, self.user_count))

    def ready(self) -> list[Member]:
        """Return the members that answer."""
        return [one for one in self.members if one.engine.state is EngineState.READY]

    @property
    def is_at_rest(self) -> bool:
        """Whether nobody has asked for it for a while."""
        return not self.user_count and time.monotonic() - self.last_use_s > REST_S

    def choose(self, weights: Weights) -> Member:
        """Return the engine that should answer: one that holds the adapter, else the least busy.

        Raises:
            Unavailable: If none is READY.
            ResourceExhausted: If there is no room for one.
        """
        ready = self.ready()
        if not ready:
            raise self.waits_for(weights) or not_started(weights)
        adapter = weights.adapter_sha256
        return min(ready, key=lambda one: (not one.adapters.holds(adapter), one.user_count))

    def waits_for(self, weights: Weights) -> Unavailable | ResourceExhausted | None:
        """Return why the model does not answer now, or None if it does."""
        if self.ready():
            return None
        if not self.members:
            return _no_room(weights, self.refusal) if self.refusal else not_started(weights)
        try:
            self.members[0].engine.client()
        except Unavailable as error:
            return error
        return None


def not_started(weights: Weights) -> Unavailable:
    """Return what a caller is told while an engine is about to be started."""
    return Unavailable(
        f"An engine of {weights.model_id} is being started. Try again.",
        reason="ENGINE_NOT_READY",
        retry_after_s=RETRY_AFTER_S,
        base_model=weights.model_id,
    )


def _no_room(weights: Weights, refusal: str) -> ResourceExhausted:
    return ResourceExhausted(
        f"There is no room for an engine of {weights.model_id}. {refusal}",
        reason="NO_ROOM_FOR_ENGINE",
        base_model=weights.model_id,
    )
