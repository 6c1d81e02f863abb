"""Keeps adapters in the engine while they are needed, and never more than it holds."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Set
from contextlib import asynccontextmanager

from services.common.artefacts import Artefacts
from services.common.errors import ResourceExhausted
from services.serving.engines.engine import Engine
from services.serving.engines.engine_client import EngineClient
from services.serving.engines.residency import LORAS_MAX, Place, choose_victim
from services.serving.registry.version import SHA256

log = logging.getLogger(__name__)

ROOM_WAIT_S = 60.0
"""Longest time to wait until a request leaves its place."""


class Adapters:
    """What the engine holds, and who uses it.

    An adapter is loaded under its hash, so its name in the engine says what it is, also after a
    restart of serving. All is forgotten when another engine process takes over.
    """

    def __init__(self, engine: Engine, artefacts: Artefacts) -> None:
        """Know of nothing yet."""
        self._engine = engine
        self._artefacts = artefacts
        self._places: dict[str, Place] = {}
        self._generation = 0
        """Of the engine process that `_places` belongs to."""
        self._complete = False
        """Whether `_places` is all that the engine holds; false while a call is under way."""
        self._deployed: Set[str] = frozenset()
        self._uses = itertools.count(1)
        self._lock = asyncio.Lock()
        self._left = asyncio.Event()

    def set_deployed(self, adapters: Set[str]) -> None:
        """Say which adapters must not be unloaded."""
        self._deployed = adapters

    def forget(self, adapter_sha256: str) -> None:
        """Take note that the engine does not know an adapter that it was thought to hold."""
        self._places.pop(adapter_sha256, None)
        self._complete = False

    @property
    def held(self) -> frozenset[str]:
        """Hashes of the adapters that the engine holds, as far as is known."""
        return (
            frozenset(self._places) if self._generation == self._engine.generation else frozenset()
        )

    def holds(self, adapter_sha256: str) -> bool:
        """Return whether the engine holds an adapter; it always holds the base itself."""
        return not adapter_sha256 or self._find(adapter_sha256) is not None

    @asynccontextmanager
    async def hold(self, adapter_sha256: str) -> AsyncIterator[EngineClient]:
        """Keep an adapter in the engine while the block runs; load it first if need be.

        Args:
            adapter_sha256: Its hash, or an empty text for the base itself.

        Yields:
            The engine that holds it.

        Raises:
            Unavailable: If the engine is not READY or does not answer.
            EngineRefused: If the engine cannot hold the adapter.
            ResourceExhausted: If every place is deployed or stays in use.
        """
        if not adapter_sha256:
            yield self._engine.client()
            return
        client = self._engine.client()
        if (place := self._find(adapter_sha256)) is not None:
            place.user_count += 1
        else:
            async with self._lock:
                client = self._engine.client()
                place = self._find(adapter_sha256) or await self._load(client, adapter_sha256)
                place.user_count += 1
        place.last_use = next(self._uses)
        try:
            yield client
        finally:
            place.user_count -= 1
            self._left.set()

    def _find(self, adapter_sha256: str) -> Place | None:
        if self._generation != self._engine.generation:
            return None
        return self._places.get(adapter_sha256)

    async def _load(self, client: EngineClient, adapter_sha256: str) -> Place:
        """Load one adapter; call it under the lock."""
        if not self._complete or self._generation != self._engine.generation:
            await self._ask(client)
        if (place := self._places.get(adapter_sha256)) is not None:
            return place
        generation = self._generation
        await self._make_room(client)
        # Whatever interrupts a call leaves us not knowing; then the engine is asked again.
        self._complete = False
        await client.load(adapter_sha256, self._artefacts.adapter(adapter_sha256))
        place = Place(next(self._uses))
        if generation == self._engine.generation:
            self._places[adapter_sha256] = place
            self._complete = True
        log.info("loaded adapter %s", adapter_sha256)
        return place

    async def _ask(self, client: EngineClient) -> None:
        """Learn what the engine holds, keeping who uses what in the same process."""
        generation = self._engine.generation
        names = await client.list_models()
        known = self._places if generation == self._generation else {}
        self._places = {
            name: known.get(name) or Place(last_use=0) for name in names if SHA256.fullmatch(name)
        }
        self._generation, self._complete = generation, True

    async def _make_room(self, client: EngineClient) -> None:
        """Unload until one more fits, waiting for a request to end when all are in use."""
        while len(self._places) >= LORAS_MAX:
            self._left.clear()
            victim = choose_victim(self._places, self._deployed)
            if victim is None:
                await self._wait_for_room()
                continue
            # Out of the books first, so that nobody takes it up while it goes.
            del self._places[victim]
            self._complete = False
            await client.unload(victim)
            self._complete = True
            log.info("unloaded adapter %s", victim)

    async def _wait_for_room(self) -> None:
        if all(adapter in self._deployed for adapter in self._places):
            raise _no_room("all of them are deployed")
        try:
            await asyncio.wait_for(self._left.wait(), ROOM_WAIT_S)
        except TimeoutError:
            raise _no_room(f"all of them have been in use for {ROOM_WAIT_S:g} s") from None


def _no_room(why: str) -> ResourceExhausted:
    return ResourceExhausted(
        f"The engine holds {LORAS_MAX} adapters and {why}. Try again, or point a deployment's "
        "alias at a version that another one uses.",
        reason="NO_PLACE_IN_ENGINE",
        adapter_count=str(LORAS_MAX),
        why=why,
    )
