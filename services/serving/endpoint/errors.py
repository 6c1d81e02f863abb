"""Errors in OpenAI's shape."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from services.common.errors import (
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.serving.engines.engine_client import EngineRefused
from services.serving.keys.key import PermissionDenied, Unauthenticated
from services.serving.keys.limits import LimitReached

STATUS = {
    FailedPrecondition: 400,
    Unauthenticated: 401,
    PermissionDenied: 403,
    NotFound: 404,
    LimitReached: 429,
    ResourceExhausted: 503,
    Unavailable: 503,
}
INVALID, SERVER = "invalid_request_error", "server_error"
TYPES = {400: INVALID, 401: INVALID, 403: INVALID, 404: INVALID, 405: INVALID, 413: INVALID}
INTERNAL = "internal"


class Refusal(Exception):
    """Why a request gets no answer, as OpenAI's clients read it."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None,
        param: str | None = None,
        *,
        kind: str = "",
        retry_after_s: float = 0.0,
    ) -> None:
        """Keep what OpenAI's error shape needs.

        Args:
            status: Of HTTP.
            message: What is wrong and what to do.
            code: Short name of the reason.
            param: Field of the body that is wrong.
            kind: OpenAI's type; by the status when empty.
            retry_after_s: When to try again, in seconds; 0 for never.
        """
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.kind = kind or TYPES.get(status, SERVER)
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> dict[str, Any]:
        """The body of the response."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to it."""
        return {"retry-after": str(math.ceil(self.retry_after_s))} if self.retry_after_s else {}

    @property
    def event(self) -> bytes:
        """The event that ends a stream; OpenAI's clients raise on it."""
        return event(self.body)


def event(body: dict[str, Any]) -> bytes:
    """Return one event of a stream."""
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def refusal_of(error: Exception, request_id: str) -> Refusal:
    """Return how the endpoint says an error; the text of an unknown one stays inside."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ServiceError):
        is_about_model = isinstance(error, NotFound | FailedPrecondition | PermissionDenied)
        return Refusal(
            STATUS.get(type(error), 500),
            error.message,
            error.reason.lower(),
            "model" if is_about_model else None,
            kind=error.limit if isinstance(error, LimitReached) else "",
            retry_after_s=(
                error.retry_after_s if isinstance(error, Unavailable | LimitReached) else 0.0
            ),
        )
    if isinstance(error, EngineRefused):
        named = error.error.get("param")
        status = error.status if 400 <= error.status < 500 else 502
        return Refusal(status, error.message, None, named if isinstance(named, str) else None)
    text = f"Something went wrong here; the service's log has it, under {request_id}."
    return Refusal(500, text, INTERNAL)
