"""Servers: how every gRPC service of this project is built, guarded, started and stopped."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from services.common import errors, validation

log = logging.getLogger(__name__)

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Largest request that is answered with a reason; gRPC itself cuts off above four times that."""
UNARY_DEADLINE_S = 60.0
"""Given to a unary call that comes without a deadline."""
STOP_GRACE_S = 5.0
"""Time that running calls have to end when the service stops."""
CONCURRENT_CALLS_MAX = 500
DETAIL_BYTES_MAX = 4500
"""A status travels in a header, base64-coded; gRPC cuts headers off at 8 KiB."""
TEXT_CHARACTERS_MAX = 1000
"""Longest message of a status or violation."""


def to_status(error: errors.ServiceError, domain: str) -> grpc.Status:
    """Return the rich status of an error: ErrorInfo always, BadRequest and RetryInfo if known."""
    message = error.message[:TEXT_CHARACTERS_MAX]
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=domain)
    info.metadata.update({key: text[:TEXT_CHARACTERS_MAX] for key, text in error.metadata.items()})
    details: list[Message] = [info]
    if isinstance(error, errors.Unavailable):
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, errors.InvalidArgument) and error.violations:
        room = DETAIL_BYTES_MAX - len(message) - sum(detail.ByteSize() for detail in details)
        details.append(_bad_request(error.violations, room))
    code: int = grpc.StatusCode[error.code].value[0]
    packed = status_pb2.Status(code=code, message=message)
    for detail in details:
        holder = any_pb2.Any()
        holder.Pack(detail)
        packed.details.append(holder)
    status: grpc.Status = rpc_status.to_status(packed)
    return status


def _bad_request(
    violations: Sequence[errors.Violation], room_bytes: int
) -> error_details_pb2.BadRequest:
    """Return as many violations as there is room for; a last one counts what was left out."""
    bad = error_details_pb2.BadRequest()
    for index, violation in enumerate(violations):
        text = violation.message[:TEXT_CHARACTERS_MAX]
        bad.field_violations.add(field=violation.field, description=text, reason=violation.rule)
        if index > 0 and bad.ByteSize() > room_bytes:
            del bad.field_violations[-1]
            more = f"{len(violations) - index} more; mend these and send it again to see them."
            bad.field_violations.add(field="...", description=more, reason="MORE")
            break
    return bad


class Guard(aio.ServerInterceptor):  # type: ignore[type-arg]  # Not generic at run time.
    """Checks every request, gives unary calls a deadline and turns errors into statuses."""

    def __init__(self, domain: str) -> None:
        self._domain = domain

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: Any,
    ) -> Any:
        """Wrap the handler of one call, whichever of the four kinds it is."""
        handler = await continuation(details)
        if handler is None or details.method.startswith(("/grpc.health.", "/grpc.reflection.")):
            return handler
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            wrap = self._streaming(details.method, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(wrap, **codec)
        call = handler.stream_unary if handler.request_streaming else handler.unary_unary
        unary = self._unary(details.method, call)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(unary, **codec)
        return grpc.unary_unary_rpc_method_handler(unary, **codec)

    def _unary(self, method: str, call: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        async def guarded(request: Any, context: Any) -> Any:
            async with self._guard(method, context):
                if isinstance(request, Message):
                    _check(request)
                else:
                    request = _checked(request)
                given = context.time_remaining()
                limit = UNARY_DEADLINE_S if given is None else given
                async with asyncio.timeout(limit):
                    return await call(request, context)

        return guarded

    def _streaming(self, method: str, call: Callable[[Any, Any], AsyncIterator[Any]]) -> Any:
        async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
            async with self._guard(method, context):
                _check(request)
                async with contextlib.aclosing(call(request, context)) as items:  # type: ignore[type-var]
                    async for item in items:
                        yield item

        return guarded

    @asynccontextmanager
    async def _guard(self, method: str, context: Any) -> AsyncIterator[None]:
        try:
            yield
        except aio.AbortError:  # An Exception: it must not reach the last branch.
            raise
        except errors.ServiceError as error:
            log.info("%s refused: %s %s", method, error.reason, error.message)
            await context.abort_with_status(to_status(error, self._domain))
        except TimeoutError:
            late = errors.DeadlineExceeded(
                "The call took longer than its deadline. Send a longer one.", reason="DEADLINE"
            )
            await context.abort_with_status(to_status(late, self._domain))
        except Exception:
            log.exception("%s failed", method)
            fault = errors.Internal(
                "Something went wrong here; the service's log has it.", reason="INTERNAL"
            )
            await context.abort_with_status(to_status(fault, self._domain))


def _check(request: Message) -> None:
    size = request.ByteSize()
    if size > MESSAGE_BYTES_MAX:
        raise errors.ResourceExhausted(
            f"The request has {size:,} bytes; at most {MESSAGE_BYTES_MAX:,} are taken. Send less.",
            reason="MESSAGE_TOO_LARGE",
            size_bytes=str(size),
            max_bytes=str(MESSAGE_BYTES_MAX),
        )
    validation.check(request)


async def _checked(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        _check(request)
        yield request


class Server:
    """One gRPC server with health, reflection and an orderly end."""

    def __init__(self, domain: str) -> None:
        """Make an empty server.

        Args:
            domain: Of its errors, such as `planner.attune`.
        """
        self._server = aio.server(
            interceptors=[Guard(domain)],
            maximum_concurrent_rpcs=CONCURRENT_CALLS_MAX,
            options=[
                ("grpc.max_receive_message_length", 4 * MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", 4 * MESSAGE_BYTES_MAX),
                ("grpc.so_reuseport", 0),  # Two services on one port must fail, not share it.
            ],
        )
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # Stubs lack it.
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names: list[str] = []
        self._works: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def accompany(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run work in the background from the server's start until its stop, which cancels it."""
        self._works.append(work)

    def add(self, register: Callable[[Any, Any], None], servicer: object, name: str) -> None:
        """Serve one API.

        Args:
            register: The generated `add_...Servicer_to_server`.
            servicer: Its implementation.
            name: Full name of the service, from its descriptor.
        """
        register(servicer, self._server)
        self._names.append(name)

    async def start(self, host: str, port: int) -> int:
        """Listen and report healthy.

        Returns:
            The port, which differs from the one asked for only when that was 0.

        Raises:
            SystemExit: If the port is taken, in one line that says what to do.
        """
        reflection.enable_server_reflection(
            [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )
        check_port_is_free(host, port)
        bound: int = self._server.add_insecure_port(f"{host}:{port}")
        await self._server.start()
        self._tasks = [asyncio.create_task(work()) for work in self._works]
        for name in ["", *self._names]:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return bound

    async def stop(self) -> None:
        """Say so, let running calls end within the grace, then close."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(STOP_GRACE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def check_port_is_free(host: str, port: int) -> None:
    """Refuse a port that somebody listens on.

    Raises:
        SystemExit: With one line that says what to do.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SystemExit(
                f"Port {port} on {host} cannot be used ({error.strerror}). "
                "Stop what uses it, or choose another (0 picks a free one)."
            ) from None


async def until_signal(tasks: Sequence[asyncio.Task[None]] = ()) -> None:
    """Wait for SIGTERM, SIGINT, or the end of one of the tasks, which must not end.

    Raises:
        RuntimeError: If a task ended; it is logged.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in tasks:
        if task in done:
            log.error("background task %s ended", task.get_name(), exc_info=task.exception())
            raise RuntimeError(f"background task {task.get_name()} ended")
