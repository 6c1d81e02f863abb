"""Counts what is used, in memory first: no request waits for the database."""

from __future__ import annotations

import asyncio
import logging

from services.common.clock import Clock
from services.common.waiting import until_set
from services.serving.endpoint.call import Call
from services.serving.keys.key_store import KeyStore
from services.serving.keys.keyring import Keyring
from services.serving.keys.usage import DAY, KEPT, Counts, UsageKey, hour_of
from services.serving.keys.usage_store import UsageStore

log = logging.getLogger(__name__)

FLUSH_S = 5.0
"""Between two writes; a process that is killed loses what was used since the last one."""
BUFFERED_MAX = 10_000
"""Rows in memory while the database does not answer; what comes on top is lost, and said."""
FLUSHED_EARLY = 1_000
"""Rows that are written without waiting for the next time."""


class Meter:
    """An observer of the endpoint's calls."""

    def __init__(self, usage: UsageStore, keys: KeyStore, keyring: Keyring, clock: Clock) -> None:
        """Begin with nothing."""
        self._usage = usage
        self._keys = keys
        self._keyring = keyring
        self._clock = clock
        self._buffer: dict[UsageKey, Counts] = {}
        self._lost_count = 0
        self._full = asyncio.Event()
        self._lock = asyncio.Lock()

    def observe(self, call: Call) -> None:
        """Count a request that reached a model."""
        if call.route is None:
            return
        hour = hour_of(self._clock.now())
        key = UsageKey(call.project, hour, call.api_key, call.model, call.model_version)
        counts = self._buffer.get(key)
        if counts is None:
            if len(self._buffer) >= BUFFERED_MAX:
                self._lost_count += 1
                return
            counts = self._buffer.setdefault(key, Counts())
            if len(self._buffer) >= FLUSHED_EARLY:
                self._full.set()
        counts.request_count += 1
        counts.error_count += call.status >= 500
        counts.prompt_token_count += call.prompt_token_count
        counts.answer_token_count += call.answer_token_count

    async def run(self) -> None:
        """Write every few seconds, for ever; forget what is too old once a day."""
        pruned = None
        while True:
            try:
                now = self._clock.now()
                if pruned is None or now - pruned > DAY:
                    await self._usage.prune(now - KEPT)
                    pruned = now
                await self.flush()
            except Exception:
                log.exception("usage could not be written; it is kept and written later")
            self._full.clear()
            await until_set(self._full, FLUSH_S)

    async def stop(self) -> None:
        """Write the rest, after `run` was cancelled."""
        try:
            await self.flush()
        except Exception:
            log.exception("the last usage is lost: the database does not answer")

    async def flush(self) -> None:
        """Write what was used so far; what cannot be written is kept for the next time."""
        async with self._lock:
            if self._lost_count:
                log.error(
                    "the use of %d requests is lost: over %d rows waited for the database",
                    self._lost_count,
                    BUFFERED_MAX,
                )
                self._lost_count = 0
            if self._buffer:
                used, self._buffer = self._buffer, {}
                try:
                    await self._usage.add(used)
                except BaseException:
                    for key, counts in self._buffer.items():
                        used.setdefault(key, Counts()).add(counts)
                    self._buffer = used
                    raise
            if uses := self._keyring.take_uses():
                await self._keys.note_uses(uses)
