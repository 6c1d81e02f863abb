"""An API key: what it may call, how much, until when."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from services.common.errors import ServiceError, Violation, invalid
from services.common.names import SEGMENT, VERSION
from services.serving.keys.limits import LIMITS_MAX, Limits

MARK = "sk-attune-"
"""How every secret begins, so that people and scanners of leaked secrets know it."""
SECRET_BYTES = 32
SHOWN_CHARACTERS = len(MARK) + 6
SECRET = re.compile(rf"{MARK}[A-Za-z0-9_-]{{43}}")
TITLE_MAX = 200
MODELS_MAX = 100
MODEL_NAME = re.compile(
    rf"{SEGMENT.pattern}(/{VERSION.pattern})?|base:[A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}"
)


class Unauthenticated(ServiceError):
    """Nobody knows who calls."""

    code = "UNAUTHENTICATED"


class PermissionDenied(ServiceError):
    """The caller is known, and may not do this."""

    code = "PERMISSION_DENIED"


@dataclass(frozen=True)
class ApiKey:
    """One key as it is kept, without its secret."""

    name: str
    """`projects/{project}/apiKeys/{api_key}`."""
    title: str
    secret_prefix: str
    """How the secret begins, to tell keys apart."""
    secret_sha256: str
    """Of the secret, in hex. A secret has 256 random bits, which nobody can try out: a hash that is
    slow on purpose, as passwords need one, would protect nothing more and cost every request."""
    models: tuple[str, ...]
    """Names that it may call; all of the project when empty."""
    limits: Limits
    create_time: datetime
    expire_time: datetime | None = None
    revoke_time: datetime | None = None
    last_use_time: datetime | None = None
    """To the minute."""

    def lives(self, now: datetime) -> bool:
        """Return whether requests are let in with it."""
        return self.revoke_time is None and (self.expire_time is None or now < self.expire_time)


def new_secret() -> str:
    """Return a new secret; it is shown once and kept nowhere."""
    return MARK + secrets.token_urlsafe(SECRET_BYTES)


def hash_of(secret: str) -> str:
    """Return the hash by which a secret is found."""
    return sha256(secret.encode()).hexdigest()


def check(
    title: str, models: Sequence[str], limits: Limits, expire_time: datetime | None, now: datetime
) -> None:
    """Refuse a key that breaks a rule.

    Raises:
        InvalidArgument: With every violation.
    """
    found = []
    if not 1 <= len(title) <= TITLE_MAX:
        text = f"{len(title):,} characters; 1 to {TITLE_MAX}. Say what the key is for."
        found.append(Violation("api_key.title", "LENGTH", text))
    if len(models) > MODELS_MAX:
        text = f"{len(models):,} models; at most {MODELS_MAX}. Leave it empty to allow all."
        found.append(Violation("api_key.models", "COUNT", text))
    for index, model in enumerate(models[:MODELS_MAX]):
        if not MODEL_NAME.fullmatch(model):
            text = f"'{model[:200]}' is no model name. Give an alias, MODEL/NUMBER or base:ID."
            found.append(Violation(f"api_key.models.{index}", "MODEL_NAME", text))
    for field, most in LIMITS_MAX.items():
        value = getattr(limits, field)
        if value is not None and not 1 <= value <= most:
            text = f"{value:,}; it must lie in [1, {most:,}]. Leave it out for the default."
            found.append(Violation(f"api_key.limits.{field}", "RANGE", text))
    if expire_time is not None and expire_time <= now:
        text = f"{expire_time:%Y-%m-%d %H:%M} UTC is over. Give a later time, or none."
        found.append(Violation("api_key.expire_time", "FUTURE", text))
    if found:
        raise invalid(found)
