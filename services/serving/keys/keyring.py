"""The living keys in memory: who a secret belongs to, without a look into the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from services.common.clock import Clock
from services.common.names import project_of
from services.serving.keys.key import (
    MARK,
    SHOWN_CHARACTERS,
    ApiKey,
    PermissionDenied,
    Unauthenticated,
    hash_of,
)
from services.serving.keys.limits import Limiter, Limits

SCHEME = "bearer "


@dataclass(frozen=True)
class Caller:
    """Who sends a request."""

    project: str
    """Id of the project whose models it calls."""
    limiter: Limiter
    key: ApiKey | None = None
    """None for who calls without one."""

    def may_call(self, model: str) -> bool:
        """Return whether it may call a model name."""
        return self.key is None or not self.key.models or model in self.key.models

    def check_model(self, model: str) -> None:
        """Refuse a model outside of the key's scope, whether or not there is such a model.

        Raises:
            PermissionDenied: If it may not be called.
        """
        if not self.may_call(model):
            assert self.key is not None
            allowed = ", ".join(self.key.models)
            raise PermissionDenied(
                f"This key may not call '{model[:200]}'. It may call: {allowed}.",
                reason="MODEL_NOT_ALLOWED",
                model=model[:200],
                models=allowed,
            )


class Keyring:
    """Finds callers. One process serves and makes keys, so what it holds is all there is."""

    def __init__(
        self,
        clock: Clock,
        default: Limits,
        anonymous_project: str = "",
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know no key yet.

        Args:
            clock: For expiry.
            default: Limits of keys that have none of their own.
            anonymous_project: Whose models are called without a key; empty to demand one.
            clock_s: For limits.
        """
        self._clock = clock
        self._clock_s = clock_s
        self._default = default
        self._callers: dict[str, Caller] = {}
        self._used: dict[str, datetime] = {}
        self._anonymous = (
            Caller(anonymous_project, Limiter(Limits(), clock_s)) if anonymous_project else None
        )

    def add(self, key: ApiKey) -> None:
        """Let requests in with a key from now on."""
        limiter = Limiter(key.limits.over(self._default), self._clock_s)
        self._callers[key.secret_sha256] = Caller(project_of(key.name), limiter, key)

    def remove(self, name: str) -> None:
        """Let no further request in with a key."""
        for secret_sha256, caller in list(self._callers.items()):
            if caller.key is not None and caller.key.name == name:
                del self._callers[secret_sha256]

    def find(self, authorization: str, *, is_local: bool) -> Caller:
        """Return who calls.

        Args:
            authorization: The header; empty when there is none.
            is_local: Whether the request was made for this machine's own address.

        Raises:
            Unauthenticated: If there is no key where one is needed, or it is unknown, revoked or
                over.
        """
        scheme, secret = authorization[: len(SCHEME)], authorization[len(SCHEME) :].strip()
        if scheme.lower() != SCHEME:
            secret = ""
        if not secret.startswith(MARK):
            # OpenAI's clients cannot send no key; what cannot be one of ours counts as none.
            if self._anonymous is not None and is_local:
                return self._anonymous
            raise _unknown(secret)
        caller = self._callers.get(hash_of(secret))
        now = self._clock.now()
        if caller is None or caller.key is None or not caller.key.lives(now):
            raise _unknown(secret)
        self._used[caller.key.name] = now.replace(second=0, microsecond=0)
        return caller

    def take_uses(self) -> dict[str, datetime]:
        """Return when keys were last used, to the minute, since this was last asked."""
        used, self._used = self._used, {}
        return used


def _unknown(secret: str) -> Unauthenticated:
    if not secret:
        return Unauthenticated(
            "You did not provide an API key. Send it as `Authorization: Bearer KEY`; "
            "`attune key create` makes one.",
            reason="INVALID_API_KEY",
        )
    shown = f"{secret[:SHOWN_CHARACTERS]}..." if secret.startswith(MARK) else "that is none of ours"
    return Unauthenticated(
        f"Incorrect API key provided: {shown}. It is unknown, revoked or over; `attune key list` "
        "shows which are not.",
        reason="INVALID_API_KEY",
    )
