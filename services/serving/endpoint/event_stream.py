"""A response of events, sent as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.serving.endpoint.presence import ClientGone, while_there


class EventStream(Response):
    """Sends events; what fails before the first one is answered as any other error.

    Starlette's own response for streams begins before it knows whether there is anything to send,
    and runs it in a task of its own.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> None:
        """Keep what to send.

        Args:
            events: One or more in each piece; closed at the end, also when the client goes away.
            headers: Of the response.
        """
        self.status_code = 200
        self.background = None
        self._events = events
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all of it.

        Raises:
            ClientGone: If the client goes away before the first piece.
            Exception: Whatever the events raise before the first piece.
        """
        has_begun = False
        try:
            async with aclosing(self._events) as events, while_there(receive):
                async for piece in events:
                    if not has_begun:
                        has_begun = True
                        await send(self._start)
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except ClientGone:
            if not has_begun:
                raise

    @property
    def _start(self) -> dict[str, object]:
        headers = self.raw_headers
        return {"type": "http.response.start", "status": self.status_code, "headers": headers}
