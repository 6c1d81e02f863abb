"""Streams answers of one model, or of several at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from services.common.errors import InvalidArgument, Unavailable, Violation
from services.serving.deployments.route import Route
from services.serving.engines.engine_client import CHAT, ENGINE_AWAY, EngineRefused
from services.serving.engines.pool import Engines
from services.serving.playground.generation import End, Message, Piece, Sampling, chat_body

PIECES_MAX = 256
"""Pieces of a comparison that wait for a slow reader; the engine's streams wait then too."""


class Playground:
    """Asks the engine on behalf of a person who tries models."""

    def __init__(self, engines: Engines) -> None:
        """Keep the engines."""
        self._engines = engines

    async def generate(
        self, route: Route, messages: Sequence[Message], sampling: Sampling
    ) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of one answer, its end last.

        Raises:
            InvalidArgument: If the prompt is longer than the context.
            Unavailable: If the engine is not ready, or goes away half-way.
        """
        body = {**chat_body(messages, sampling), "model": route.weights.engine_model}
        start = time.monotonic()
        first_s, finish_reason, usage = 0.0, "", dict[str, Any]()
        try:
            async with (
                self._engines.hold(route.weights) as client,
                client.stream(CHAT, body) as chunks,
            ):
                async for chunk in chunks:
                    usage = chunk.get("usage") or usage
                    for choice in chunk["choices"]:
                        finish_reason = choice.get("finish_reason") or finish_reason
                        if text := choice["delta"].get("content"):
                            first_s = first_s or time.monotonic() - start
                            yield text
        except EngineRefused as error:
            raise _translate(error) from None
        total_s = time.monotonic() - start
        yield End(
            model_version=route.model_version,
            finish_reason=finish_reason,
            prompt_token_count=usage.get("prompt_tokens", 0),
            answer_token_count=usage.get("completion_tokens", 0),
            first_token_s=first_s or total_s,
            total_s=total_s,
        )

    async def compare(
        self, routes: Sequence[Route], messages: Sequence[Message], sampling: Sampling
    ) -> AsyncGenerator[tuple[int, Piece], None]:
        """Yield the pieces of several answers as they come, each with its position in `routes`.

        Raises:
            InvalidArgument: As `generate`.
            Unavailable: As `generate`.
        """
        queue: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue(PIECES_MAX)

        async def pump(index: int, route: Route) -> None:
            async with contextlib.aclosing(self.generate(route, messages, sampling)) as pieces:
                async for piece in pieces:
                    await queue.put((index, piece))

        async def pump_all() -> None:
            async with asyncio.TaskGroup() as group:
                for index, route in enumerate(routes):
                    group.create_task(pump(index, route))

        pumping = asyncio.create_task(pump_all())
        try:
            while not pumping.done():
                getting = asyncio.create_task(queue.get())
                await asyncio.wait({getting, pumping}, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    yield getting.result()
                else:
                    getting.cancel()
            while not queue.empty():
                yield queue.get_nowait()
            await pumping
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            pumping.cancel()
            await asyncio.wait([pumping])


def _translate(error: EngineRefused) -> InvalidArgument | Unavailable:
    if error.status == 400:
        violation = Violation("prompt.messages", "PROMPT", error.message)
        return InvalidArgument(error.message, reason="PROMPT_REFUSED", violations=[violation])
    return Unavailable(
        f"The engine could not answer (status {error.status}). Try again.",
        reason=ENGINE_AWAY,
        retry_after_s=5.0,
        status=str(error.status),
    )
