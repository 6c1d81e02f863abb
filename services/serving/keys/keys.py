"""Makes, shows and ends keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from attune.serving.v1 import key_pb2 as pb

from services.common.clock import Clock, new_id
from services.serving.keys.key import SHOWN_CHARACTERS, ApiKey, check, hash_of, new_secret
from services.serving.keys.key_store import KeyStore
from services.serving.keys.keyring import Keyring
from services.serving.keys.limits import Limits


class Keys:
    """Keeps the store and the keyring alike: what is answered here holds from then on."""

    def __init__(self, keys: KeyStore, keyring: Keyring, clock: Clock) -> None:
        """Keep what it needs."""
        self._keys = keys
        self._keyring = keyring
        self._clock = clock

    async def load(self) -> None:
        """Learn the living keys, before the first request is let in."""
        for key in await self._keys.list_living():
            self._keyring.add(key)

    async def create(
        self,
        request: pb.CreateApiKeyRequest,
        project: str,
        models: Sequence[str],
        limits: Limits,
        expire_time: datetime | None,
    ) -> tuple[pb.ApiKey, str]:
        """Make a key, and return it with its secret; without, when the request is a repeat.

        Raises:
            InvalidArgument: If a field breaks its rule.
            ResourceExhausted: If the project has as many keys as it may.
        """
        now, secret = self._clock.now(), new_secret()
        title = request.api_key.title.strip()
        check(title, models, limits, expire_time, now)
        key = ApiKey(
            name=f"projects/{project}/apiKeys/{new_id(now)}",
            title=title,
            secret_prefix=secret[:SHOWN_CHARACTERS],
            secret_sha256=hash_of(secret),
            models=tuple(dict.fromkeys(models)),
            limits=limits,
            create_time=now,
            expire_time=expire_time,
        )
        answer, is_new = await self._keys.create(request, key)
        if not is_new:
            return answer, ""
        self._keyring.add(key)
        return answer, secret

    async def revoke(self, request: pb.RevokeApiKeyRequest) -> pb.ApiKey:
        """End a key.

        Raises:
            NotFound: If there is no such key.
        """
        # A caller who goes away changes nothing: store and keyring end it together.
        ending = asyncio.create_task(self._end(request))
        try:
            return await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait([ending])
            raise

    async def list_page(self, project: str, after: str, limit: int) -> list[ApiKey]:
        """Return a project's keys, newest first."""
        return await self._keys.list_page(project, after, limit)

    async def _end(self, request: pb.RevokeApiKeyRequest) -> pb.ApiKey:
        answer = await self._keys.revoke(request, request.name)
        self._keyring.remove(answer.name)
        return answer
