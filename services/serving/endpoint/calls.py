"""What every request goes through: its id, its longest time, and its one end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import Sequence
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.serving.endpoint.call import CLIENT_GONE, Call, Observer
from services.serving.endpoint.errors import INTERNAL, Refusal

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
REQUEST_ID_HEADER = b"x-request-id"
TIMEOUT, GONE = "timeout", "client_gone"
"""Codes of requests that took too long, and whose client went away."""
LAST_WORD_S = 5.0
"""Longest time to tell a client that its request took too long."""


class Calls:
    """Wraps the endpoint's app; however a request ends, it ends here, once."""

    def __init__(self, app: ASGIApp, observers: Sequence[Observer], timeout_s: float) -> None:
        """Keep what it wraps.

        Args:
            app: Finds the call in its scope, as `call`.
            observers: Are told of every request that ended.
            timeout_s: Longest time of a request, in seconds.
        """
        self._app = app
        self._observers = observers
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = Call(_request_id(scope), scope["path"])
        scope["call"] = call
        reply = _Reply(call, send)
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                await self._app(scope, receive, reply.send)
        except Exception as error:
            if not (isinstance(error, TimeoutError) and limit.expired()):
                log.exception("request %s failed", call.request_id)
                call.note_failure(500, INTERNAL)  # The app has answered, if it still could.
                return
            text = f"The request took over {self._timeout_s:g} s, the longest time here. Ask for "
            await reply.break_off(Refusal(504, f"{text}less, or try again.", TIMEOUT))
        finally:
            if not reply.has_ended and not call.code:
                call.note_failure(CLIENT_GONE, GONE)
            self._end(call)

    def _end(self, call: Call) -> None:
        """Give back what a request holds, and tell of it."""
        call.total_s = time.monotonic() - call.begin_s
        for give_back in call.on_end:
            give_back()
        if call.status >= 400:
            level = logging.WARNING if call.status >= 500 else logging.INFO
            what = (call.status, call.code or "-", call.model or "-", call.api_key or "-")
            log.log(level, "request %s: %d %s model %s key %s", call.request_id, *what)
        for observer in self._observers:
            try:
                observer(call)
            except Exception:
                log.exception("an observer failed on request %s", call.request_id)


class _Reply:
    """Sends a response, and knows how far it is."""

    def __init__(self, call: Call, send: Send) -> None:
        self._call = call
        self._send = send
        self._has_begun = False
        self.has_ended = False

    async def send(self, message: Message) -> None:
        """Pass a message on, with the headers that every response has."""
        if message["type"] == "http.response.start":
            call, self._has_begun = self._call, True
            call.status = message["status"]
            request_id = (REQUEST_ID_HEADER, call.request_id.encode())
            message["headers"] = [*message["headers"], request_id, *call.headers]
        elif not message.get("more_body"):
            self.has_ended = True
        await self._send(message)

    async def break_off(self, refusal: Refusal) -> None:
        """End a response that takes too long, as far as that can still be said."""
        if self.has_ended:
            return
        body = refusal.event if self._call.is_stream else b""
        with contextlib.suppress(TimeoutError):  # Of a client who reads nothing any more.
            async with asyncio.timeout(LAST_WORD_S):
                if not self._has_begun:
                    body = json.dumps(refusal.body).encode()
                    await self.send(_start(refusal, len(body)))
                await self.send({"type": "http.response.body", "body": body, "more_body": False})
        self._call.note_failure(refusal.status, refusal.code or "")


def _start(refusal: Refusal, body_bytes: int) -> Message:
    length = (b"content-length", str(body_bytes).encode())
    headers = [(b"content-type", b"application/json"), length]
    return {"type": "http.response.start", "status": refusal.status, "headers": headers}


def _request_id(scope: Scope) -> str:
    """Return the caller's id of a request if it is well formed, else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return f"req_{uuid4().hex}"
