"""The OpenAI-compatible endpoint: aliases outside, the engine inside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import socket
from collections.abc import AsyncGenerator, Awaitable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route as Path
from starlette.types import ASGIApp

from services.common.errors import (
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.serving.deployments.lot import HEADER, Lot
from services.serving.deployments.route import Route, Routes
from services.serving.engines.engine_client import CHAT, TEXT, Body, EngineRefused
from services.serving.engines.pool import Engines

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 1024 * 1024
STOP_GRACE_S = 5
VERSION_HEADER = "x-attune-model-version"
STATUS = {NotFound: 404, FailedPrecondition: 400, Unavailable: 503, ResourceExhausted: 503}
TYPES = {400: "invalid_request_error", 404: "invalid_request_error", 413: "invalid_request_error"}


class BadRequest(Exception):
    """A request that is wrong whatever the state of the engine."""

    def __init__(self, status: int, message: str, code: str, param: str | None = None) -> None:
        """Keep what OpenAI's error shape needs."""
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param


class Endpoint:
    """Answers `/v1/models`, `/v1/chat/completions` and `/v1/completions`; nothing else exists."""

    def __init__(self, routes: Routes, engines: Engines) -> None:
        """Keep where models are found and held."""
        self._routes = routes
        self._engines = engines
        self.app: ASGIApp = Starlette(
            routes=[
                Path("/v1/models", self._list_models, methods=["GET"]),
                Path(CHAT, self._complete, methods=["POST"]),
                Path(TEXT, self._complete, methods=["POST"]),
            ],
            exception_handlers={
                BadRequest: _on_bad_request,
                ServiceError: _on_service_error,
                EngineRefused: _on_refusal,
                HTTPException: _on_http_error,
                Exception: _on_fault,
            },
        )

    async def _list_models(self, _request: Request) -> Response:
        data = [
            {"id": name, "object": "model", "created": created, "owned_by": "attune"}
            for name, created in await self._routes.list_models()
        ]
        return JSONResponse({"object": "list", "data": data})

    async def _complete(self, request: Request) -> Response:
        body = await _read_body(request)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise BadRequest(400, "'model' must name a model.", "missing_model", "model")
        if not isinstance(body.get("stream", False), bool | None):
            raise BadRequest(400, "'stream' must be true or false.", "invalid_stream", "stream")
        lot = Lot(request.headers.get(HEADER, ""), str(body.get("user") or ""))
        route = await self._routes.of_model_name(model, lot)
        asked = {**body, "model": route.weights.engine_model}
        headers = {VERSION_HEADER: route.model_version} if route.model_version else {}
        if body.get("stream"):
            chunks = self._stream(request.url.path, asked, route, model)
            # The first chunk decides the status, which cannot be changed once the body began.
            first = await _unless_gone(request, anext(chunks))
            return StreamingResponse(
                _prepend(first, chunks), media_type="text/event-stream", headers=headers
            )
        answer = await _unless_gone(request, self._ask(request.url.path, asked, route))
        return JSONResponse({**answer, "model": model}, headers=headers)

    async def _ask(self, path: str, body: Body, route: Route) -> Body:
        async with self._engines.hold(route.weights) as client:
            with self._noting_loss(route):
                return await client.ask(path, body)

    async def _stream(
        self, path: str, body: Body, route: Route, model: str
    ) -> AsyncGenerator[bytes, None]:
        begun = False
        try:
            async with self._engines.hold(route.weights) as client:
                with self._noting_loss(route):
                    async with client.stream(path, body) as chunks:
                        async for chunk in chunks:
                            begun = True
                            yield _event({**chunk, "model": model})
        except (EngineRefused, Unavailable) as error:
            if not begun:
                raise
            # Too late for a status: OpenAI's clients raise on an error event.
            yield _event(_error_body(error.message, "server_error", None, None))
            return
        yield b"data: [DONE]\n\n"

    @contextlib.contextmanager
    def _noting_loss(self, route: Route) -> Iterator[None]:
        """Turn the engine's not knowing the model into a reason to try again."""
        try:
            yield
        except EngineRefused as error:
            if error.status != 404:
                raise
            self._engines.forget(route.weights)
            raise Unavailable(
                "The engine lost this model; it is loaded again. Try again.",
                reason="ADAPTER_LOST",
            ) from None


class HttpServer(uvicorn.Server):
    """uvicorn inside our own event loop; signals are handled elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        """Prepare to serve an app."""
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_GRACE_S,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free one."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(128)
    return listener


async def _read_body(request: Request) -> Body:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > BODY_BYTES_MAX:
            text = f"The body has over {BODY_BYTES_MAX:,} bytes. Send less."
            raise BadRequest(413, text, "body_too_large")
    try:
        body = json.loads(data)
    except ValueError as error:
        raise BadRequest(400, f"The body is not JSON: {error}.", "invalid_json") from None
    if not isinstance(body, dict):
        raise BadRequest(400, "The body must be a JSON object.", "invalid_json")
    return body


async def _unless_gone(request: Request, work: Awaitable[Any]) -> Any:
    """Return what the work returns, or cancel it when the client goes away first."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working = asyncio.ensure_future(work)
    watching = asyncio.create_task(gone())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise BadRequest(499, "The client went away.", "client_gone")
        return working.result()
    finally:
        watching.cancel()
        working.cancel()


async def _prepend(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def _event(body: Body) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def _error_body(message: str, kind: str, param: str | None, code: str | None) -> Body:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _error(
    status: int, message: str, param: str | None, code: str | None, retry_after_s: float = 0
) -> Response:
    headers = {"retry-after": str(math.ceil(retry_after_s))} if retry_after_s else {}
    body = _error_body(message, TYPES.get(status, "server_error"), param, code)
    return JSONResponse(body, status_code=status, headers=headers)


def _on_bad_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BadRequest)
    return _error(error.status, error.message, error.param, error.code)


def _on_service_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    param = "model" if isinstance(error, NotFound | FailedPrecondition) else None
    retry_after_s = error.retry_after_s if isinstance(error, Unavailable) else 0
    status = STATUS.get(type(error), 500)
    return _error(status, error.message, param, error.reason.lower(), retry_after_s)


def _on_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, EngineRefused)
    param = error.error.get("param")
    status = error.status if 400 <= error.status < 500 else 502
    return _error(status, error.message, param if isinstance(param, str) else None, None)


def _on_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = f"{error.detail}. There are GET /v1/models, POST {CHAT} and POST {TEXT}."
    return _error(error.status_code, text, None, None)


def _on_fault(_request: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    return _error(500, "Something went wrong here; the service's log has it.", None, "internal")
