"""Clients: calls to other services fail with the same errors as local ones."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

import json
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import grpc
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from services.common import errors

Response = TypeVar("Response")

CALL_TIMEOUT_S = 10.0
MESSAGE_BYTES_MAX = 16 * 1024 * 1024

# Only UNAVAILABLE is retried. Every mutation carries a request_id or is idempotent, but for
# LeaseRun: a lease whose answer was lost must run out instead of being given twice. Deadlines do
# not stand here: grpcio misreads them (grpc/grpc#40633).
SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        },
        {"name": [{"service": "attune.scheduler.v1.WorkerService", "method": "LeaseRun"}]},
    ]
}
CLASSES: dict[str, type[errors.ServiceError]] = {
    kind.code: kind
    for kind in (
        errors.NotFound,
        errors.AlreadyExists,
        errors.FailedPrecondition,
        errors.Conflict,
        errors.ResourceExhausted,
        errors.DeadlineExceeded,
        errors.Cancelled,
    )
}


def channel(address: str) -> aio.Channel:
    """Return a channel to `host:port`; it connects on first use and reconnects by itself."""
    return aio.insecure_channel(
        address,
        options=[
            ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_reconnect_backoff_ms", 1000),  # Local services come back within seconds.
        ],
    )


async def call(method: Any, request: Any, *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
    """Make a unary call, or a client-streaming one when the request is an iterator.

    Args:
        method: A stub's method.
        request: Its request, or an async iterator of requests.
        timeout_s: Deadline in seconds.

    Raises:
        ServiceError: What the service refused with, as the class it raised there.
    """
    try:
        return await method(request, timeout=timeout_s)
    except aio.AioRpcError as error:
        raise from_rpc_error(error) from None


async def stream(
    method: Any, request: Any, *, timeout_s: float | None = None
) -> AsyncIterator[Any]:
    """Make a server-streaming call and yield its messages.

    Args:
        method: A stub's method.
        request: Its request.
        timeout_s: Deadline in seconds; none for a stream that may last as long as a job.

    Raises:
        ServiceError: What the service refused with, as the class it raised there.
    """
    answers = method(request, timeout=timeout_s)
    try:
        async for answer in answers:
            yield answer
    except aio.AioRpcError as error:
        raise from_rpc_error(error) from None
    finally:
        answers.cancel()  # Without effect when it has ended.


def from_rpc_error(error: aio.AioRpcError) -> errors.ServiceError:
    """Return the error that the service raised."""
    reason, metadata, violations, retry_after_s = error.code().name, {}, [], 1.0
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # Has what it needs.
    for detail in status.details if status is not None else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            violations = [
                errors.Violation(item.field, item.reason, item.description)  # type: ignore[attr-defined]
                for item in bad.field_violations
            ]
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToMilliseconds() / 1000
    message = error.details() or error.code().name
    metadata = {key: value for key, value in metadata.items() if key not in ("reason", "message")}
    if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
        return errors.InvalidArgument(message, reason=reason, violations=violations, **metadata)
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return errors.Unavailable(message, reason=reason, retry_after_s=retry_after_s, **metadata)
    kind = CLASSES.get(error.code().name, errors.Internal)
    return kind(message, reason=reason, **metadata)
