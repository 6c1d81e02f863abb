"""The OpenAI-compatible endpoint: aliases outside, the engine inside."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Iterator, Sequence

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as Path
from starlette.types import ASGIApp

from services.common.errors import ServiceError, Unavailable
from services.serving.deployments.lot import HEADER, Lot
from services.serving.deployments.route import Route, Routes
from services.serving.endpoint.admission import Admission
from services.serving.endpoint.call import CLIENT_GONE, Call, Observer
from services.serving.endpoint.calls import GONE, Calls
from services.serving.endpoint.errors import Refusal, event, refusal_of
from services.serving.endpoint.event_stream import EventStream
from services.serving.endpoint.presence import ClientGone, while_there
from services.serving.endpoint.stream_usage import StreamUsage
from services.serving.engines.engine_client import CHAT, TEXT, Body, EngineRefused
from services.serving.engines.pool import Engines

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 1024 * 1024
STOP_GRACE_S = 5
TIMEOUT_S = 600.0
BACKLOG = 1024
"""Connections that wait to be taken; more at once are tried again by their system after 1 s."""
VERSION_HEADER = "x-attune-model-version"
ANSWERS_MAX = 128
"""Of one request, over all its prompts: a place among those that run at once is for a request."""


class Endpoint:
    """Answers `/v1/models`, `/v1/chat/completions` and `/v1/completions`; nothing else exists."""

    def __init__(
        self,
        routes: Routes,
        engines: Engines,
        admission: Admission,
        observers: Sequence[Observer] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Keep what it needs.

        Args:
            routes: Finds models.
            engines: Hold them.
            admission: Lets requests in.
            observers: Are told of every request that ended.
            timeout_s: Longest time of a request, in seconds.
        """
        self._routes = routes
        self._engines = engines
        self._admission = admission
        self._timeout_s = timeout_s
        app = Starlette(
            routes=[
                Path("/v1/models", self._list_models, methods=["GET"]),
                Path(CHAT, self._complete, methods=["POST"]),
                Path(TEXT, self._complete, methods=["POST"]),
            ],
            exception_handlers={
                Refusal: _on_error,
                ClientGone: _on_client_gone,
                ClientDisconnect: _on_client_gone,
                ServiceError: _on_error,
                EngineRefused: _on_error,
                HTTPException: _on_http_error,
                Exception: _on_error,
            },
        )
        self.app: ASGIApp = Calls(app, observers, timeout_s)

    async def _list_models(self, request: Request) -> Response:
        caller = self._admission.identify(request)
        data = [
            {"id": name, "object": "model", "created": created, "owned_by": "attune"}
            for name, created in await self._routes.list_models(caller.project)
            if caller.may_call(name)
        ]
        return JSONResponse({"object": "list", "data": data})

    async def _complete(self, request: Request) -> Response:
        call: Call = request.scope["call"]
        caller = self._admission.identify(request)
        self._admission.let_in(call, caller)
        body = await _read_body(request)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise Refusal(400, "'model' must name a model.", "missing_model", "model")
        if not isinstance(body.get("stream", False), bool | None):
            raise Refusal(400, "'stream' must be true or false.", "invalid_stream", "stream")
        _check_answer_count(body)
        caller.check_model(model)
        if not self._admission.has_turn(call):
            async with while_there(request.receive):
                await self._admission.take_turn(call)
        lot = Lot(request.headers.get(HEADER, ""), str(body.get("user") or ""))
        route = await self._routes.of_model_name(caller, model, lot)
        call.model, call.route = model, route
        asked = {**body, "model": route.weights.engine_model}
        headers = {VERSION_HEADER: route.model_version} if route.model_version else {}
        if body.get("stream"):
            call.is_stream = True
            return EventStream(self._stream(call, asked, route, model), headers)
        async with while_there(request.receive):
            answer = await self._ask(call.path, asked, route)
        call.note_usage(answer.get("usage") or {})
        return JSONResponse({**answer, "model": model}, headers=headers)

    async def _ask(self, path: str, body: Body, route: Route) -> Body:
        async with route.hold(self._engines) as client:
            with self._noting_loss(route):
                return await client.ask(path, body, timeout_s=self._timeout_s)

    async def _stream(
        self, call: Call, body: Body, route: Route, model: str
    ) -> AsyncGenerator[bytes, None]:
        usage = StreamUsage(call, body)
        try:
            async with route.hold(self._engines) as client:
                with self._noting_loss(route):
                    async with client.stream(call.path, usage.body) as batches:
                        async for batch in batches:
                            if call.first_token_s is None:
                                call.note_first_token()
                            shown = [usage.take(chunk) for chunk in batch]
                            if events := [event({**one, "model": model}) for one in shown if one]:
                                yield b"".join(events)
        except (EngineRefused, Unavailable) as error:
            if call.first_token_s is None:
                raise
            # Too late for a status: OpenAI's clients raise on an error event.
            broken = refusal_of(error, call.request_id)
            call.note_failure(broken.status, broken.code or "refused")
            yield Refusal(500, broken.message, None).event
            return
        yield b"data: [DONE]\n\n"

    @contextlib.contextmanager
    def _noting_loss(self, route: Route) -> Iterator[None]:
        """Turn the engine's not knowing the model into a reason to try again."""
        try:
            yield
        except EngineRefused as error:
            if error.status != 404 or route.outside is not None:
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
    # Without the protocol's number asyncio leaves Nagle's algorithm on, and a piece of a stream
    # waits some 40 ms for the receiver's acknowledgement of the one before.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


async def _read_body(request: Request) -> Body:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > BODY_BYTES_MAX:
            text = f"The body has over {BODY_BYTES_MAX:,} bytes. Send less."
            raise Refusal(413, text, "body_too_large")
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Refusal(400, f"The body is not JSON: {error}.", "invalid_json") from None
    if not isinstance(body, dict):
        raise Refusal(400, "The body must be a JSON object.", "invalid_json")
    return body


def _check_answer_count(body: Body) -> None:
    """Refuse a request for more answers than one may have."""
    each = body.get("n", 1)
    if isinstance(each, bool) or not isinstance(each, int | None):
        raise Refusal(400, "'n' must be a whole number.", "invalid_n", "n")
    prompt = body.get("prompt")
    prompt_count = 1
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        prompt_count = len(prompt)
    count = prompt_count * (1 if each is None else each)
    if count > ANSWERS_MAX:
        text = f"{count:,} answers; at most {ANSWERS_MAX} in one request. Send several requests."
        raise Refusal(400, text, "too_many_answers", "n" if prompt_count == 1 else "prompt")


def _on_error(request: Request, error: Exception) -> Response:
    """Return the response to whatever went wrong; the call keeps the reason."""
    call: Call = request.scope["call"]
    refusal = refusal_of(error, call.request_id)
    call.code = refusal.code or "refused"
    return JSONResponse(refusal.body, status_code=refusal.status, headers=refusal.headers)


def _on_client_gone(request: Request, _error: Exception) -> Response:
    return _on_error(request, Refusal(CLIENT_GONE, "The client went away.", GONE))


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = f"{error.detail}. There are GET /v1/models, POST {CHAT} and POST {TEXT}."
    return _on_error(request, Refusal(error.status_code, text, None))
