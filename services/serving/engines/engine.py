"""One engine and whether it answers: brought up, watched, and brought up again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum

import aiohttp

from services.common.errors import Unavailable
from services.common.waiting import until_set
from services.serving.engines.base_model import BaseModel
from services.serving.engines.engine_client import EngineClient
from services.serving.engines.host import EngineFailed, Host
from services.serving.engines.start_times import StartTimes

log = logging.getLogger(__name__)

START_TIMEOUT_S = 600.0
START_POLL_S = 0.5
HEALTH_S = 3.0
"""Between two looks at /health."""
HEALTH_FAILURES_MAX = 3
PROBE_S = 30.0
"""Between two one-token probes."""
PROBE_FAILURES_MAX = 2
STARTS_MAX = 5
"""Starts in a row that never became READY, after which it stays FAILED."""
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
RETRY_AFTER_MIN_S = 1.0
RETRY_AFTER_MAX_S = 60.0


class EngineState(StrEnum):
    """Whether the engine answers."""

    STARTING = "STARTING"
    READY = "READY"
    FAILED = "FAILED"


class Engine:
    """Keeps one engine alive from `run` to `stop`."""

    def __init__(
        self,
        engine_id: str,
        host: Host,
        model: BaseModel,
        session: aiohttp.ClientSession,
        start_times: StartTimes,
        on_change: Callable[[], None],
    ) -> None:
        """Prepare; `run` does the rest.

        Args:
            engine_id: Names it in logs.
            host: Where it runs.
            model: What it serves.
            session: For all calls to it.
            start_times: How long starts take.
            on_change: Called when the state has changed.
        """
        self.id = engine_id
        self.model = model
        self.host = host
        self.state = EngineState.STARTING
        self.reason = f"{model.id} is about to be loaded."
        self.generation = 0
        """Counts the times it became READY; what was loaded before the last one may be gone."""
        self.start_count = 0
        self.ready_time: datetime | None = None
        """When it became READY; None while it is not."""
        self._on_change = on_change
        self._session = session
        self._start_times = start_times
        self._begin_s = time.monotonic()
        self._client: EngineClient | None = None
        self._look = asyncio.Event()

    @property
    def progress(self) -> float:
        """How much of a start is over, in [0, 1]; 1 when READY."""
        if self.state is EngineState.READY:
            return 1.0
        expected_s = self._start_times.expected_s(self.model.id)
        return min(0.99, (time.monotonic() - self._begin_s) / expected_s)

    @property
    def remaining_s(self) -> float:
        """Expected rest of a start, in seconds; 0 when READY."""
        if self.state is EngineState.READY:
            return 0.0
        return (1.0 - self.progress) * self._start_times.expected_s(self.model.id)

    def client(self) -> EngineClient:
        """Return the way to the engine.

        Raises:
            Unavailable: If it is not READY.
        """
        if self.state is EngineState.READY and self._client is not None:
            return self._client
        raise Unavailable(
            f"The engine is not ready ({self.state}): {self.reason}",
            reason="ENGINE_NOT_READY",
            retry_after_s=max(RETRY_AFTER_MIN_S, min(RETRY_AFTER_MAX_S, self.remaining_s)),
            state=self.state.value,
            state_reason=self.reason,
        )

    async def run(self) -> None:
        """Keep the engine alive, for ever."""
        failures = 0
        while failures < STARTS_MAX:
            try:
                await self._bring_up()
            except EngineFailed as error:
                failures += 1
                self._enter(EngineState.FAILED, str(error))
                await self._close()
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1])
                continue
            failures = 0
            self.generation += 1
            self._enter(EngineState.READY, f"Serves {self.model.id}.")
            reason = await self._watch()
            self._enter(EngineState.FAILED, reason)
            await self._close()
            await asyncio.sleep(BACKOFF_S[0])
        self._enter(
            EngineState.FAILED,
            f"{self.reason} Gave up after {STARTS_MAX} starts; mend it and restart serving.",
        )
        await asyncio.Event().wait()  # The rest of the service goes on and says why.

    async def stop(self, reason: str) -> None:
        """End the engine with all its processes, after `run` was cancelled."""
        self._enter(EngineState.FAILED, reason)
        await self._close()

    async def _bring_up(self) -> None:
        """Open an engine, and wait until it makes a token."""
        self._begin_s = time.monotonic()
        self.start_count += 1
        expected_s = self._start_times.expected_s(self.model.id)
        self._enter(EngineState.STARTING, f"Loading {self.model.id}; about {expected_s:.0f} s.")
        opened = await self.host.open(self.model, self._is_healthy)
        client = self._client_of(opened.address)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await client.is_healthy():
            if not self.host.is_alive():
                raise EngineFailed(f"The engine ended while it started. {self.host.last_words()}")
            if time.monotonic() > deadline:
                raise EngineFailed(f"The engine took over {START_TIMEOUT_S:g} s to start.")
            await asyncio.sleep(START_POLL_S)  # Another process starts; nothing to await.
        # The first token takes longer; whoever asks first shall not wait for it.
        if not await client.probe():
            raise EngineFailed(f"The engine makes no token. {self.host.last_words()}")
        if opened.is_new:
            self._start_times.note(self.model.id, time.monotonic() - self._begin_s)
        self._client = client

    async def _watch(self) -> str:
        """Return when the engine must be started again, with the reason."""
        client, failures, probe_failures = self.client(), 0, 0
        next_probe = time.monotonic() + PROBE_S
        while True:
            if not self.host.is_alive():
                return f"The engine's process ended. {self.host.last_words()}"
            failures = 0 if await client.is_healthy() else failures + 1
            if failures >= HEALTH_FAILURES_MAX:
                return f"The engine failed {failures} health checks in a row."
            if time.monotonic() > next_probe:
                probe_failures = 0 if await client.probe() else probe_failures + 1
                if probe_failures >= PROBE_FAILURES_MAX:
                    return f"The engine made no token in {probe_failures} probes in a row."
                next_probe = time.monotonic() + PROBE_S
            self._look.clear()  # Not earlier: our own failed look must not cause the next.
            await until_set(self._look, START_POLL_S if failures else HEALTH_S)

    async def _is_healthy(self, address: str) -> bool:
        return await self._client_of(address).is_healthy()

    def _client_of(self, address: str) -> EngineClient:
        return EngineClient(self._session, address, self.model.id, self._look.set)

    async def _close(self) -> None:
        self._client = None
        await self.host.close()

    def _enter(self, state: EngineState, reason: str) -> None:
        log.info("%s is %s: %s", self.id, state, reason)
        self.state, self.reason = state, reason
        self.ready_time = datetime.now(UTC) if state is EngineState.READY else None
        self._on_change()
