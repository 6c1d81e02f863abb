"""Answers people who try models, side by side, and keeps what was asked and answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from services.common.clock import Clock
from services.common.errors import InvalidArgument, ServiceError, Violation, invalid
from services.common.names import project_of
from services.serving.deployments.route import Route, Routes
from services.serving.playground.answer import End, Piece, failure_of
from services.serving.playground.exchange import new_exchange
from services.serving.playground.exchange_store import ExchangeStore
from services.serving.playground.generation import Generations
from services.serving.playground.grading import (
    GraderService,
    Grading,
    check_grading,
    sample_of,
    scores_of,
)
from services.serving.playground.prompt import Prompt, check_prompt
from services.serving.playground.recording import Recording

log = logging.getLogger(__name__)

COMPARED_MIN = 2
COMPARED_MAX = 4
PIECES_MAX = 256
"""Pieces of a comparison that wait for a slow reader; the engine's streams wait then too."""


class Playground:
    """Asks engines on behalf of a person who tries models."""

    def __init__(
        self,
        routes: Routes,
        generations: Generations,
        graders: GraderService,
        exchanges: ExchangeStore,
        clock: Clock,
    ) -> None:
        """Keep what answers, what scores, and where both are kept."""
        self._routes = routes
        self._generations = generations
        self._graders = graders
        self._exchanges = exchanges
        self._clock = clock

    async def generate(
        self, model: str, prompt: Prompt, grading: Grading
    ) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of one answer, its end last.

        Args:
            model: Resource name of a version, a deployment or a base.
            prompt: What is asked.
            grading: With what the answer is scored.

        Raises:
            InvalidArgument: With every violation, or if the engine refuses the prompt.
            ServiceError: Whatever keeps the model from answering.
        """
        _check(prompt, grading, [])
        route = await self._routes.of_resource(model, "model")
        async with (
            self._recording([model], prompt) as recording,
            contextlib.aclosing(self._answer(recording, 0, route, grading)) as pieces,
        ):
            async for piece in pieces:
                yield piece

    async def compare(
        self, models: Sequence[str], prompt: Prompt, grading: Grading
    ) -> AsyncGenerator[tuple[int, Piece], None]:
        """Yield the pieces of several answers as they come, each with its position in `models`.

        A model that fails has a `Failure` as its last piece, and the others go on.

        Args:
            models: Two to four, as in `generate`, of one project.
            prompt: What is asked.
            grading: With what the answers are scored.

        Raises:
            InvalidArgument: With every violation.
        """
        _check(prompt, grading, _check_models(models))
        routes = [await self._find(model, f"models.{i}") for i, model in enumerate(models)]
        queue: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue(PIECES_MAX)

        async def pump(recording: Recording, index: int, route: Route | ServiceError) -> None:
            try:
                answer = self._answer(recording, index, route, grading)
                async with contextlib.aclosing(answer) as pieces:
                    async for piece in pieces:
                        await queue.put((index, piece))
            except Exception as error:  # The others shall go on whatever it is.
                if not isinstance(error, ServiceError):
                    log.exception("answer %d of %s failed", index, recording.name)
                await queue.put((index, failure_of(error, recording.name)))

        async with self._recording(models, prompt) as recording:
            pumps = [pump(recording, index, route) for index, route in enumerate(routes)]
            async with contextlib.aclosing(_drain(queue, pumps)) as pieces:
                async for item in pieces:
                    yield item

    @contextlib.asynccontextmanager
    async def _recording(
        self, models: Sequence[str], prompt: Prompt
    ) -> AsyncGenerator[Recording, None]:
        """Begin an exchange, and keep it at the end as far as it came, whatever ended it."""
        exchange = new_exchange(project_of(models[0]), models, prompt, self._clock.now())
        recording = Recording(self._exchanges, exchange)
        await recording.begin()
        try:
            yield recording
        finally:
            await recording.stop()

    async def _answer(
        self, recording: Recording, index: int, route: Route | ServiceError, grading: Grading
    ) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of one answer of an exchange, which is kept before its end is told."""
        try:
            if isinstance(route, ServiceError):
                raise route
            prompt = recording.prompt
            async with contextlib.aclosing(self._generations.stream(route, prompt)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        recording.add(index, piece)
                    if isinstance(piece, End):
                        piece = await self._score(piece, recording, index, grading)
                        await recording.close(index, piece)
                    yield piece
        except Exception as error:
            await recording.close(index, failure_of(error, recording.name))
            raise

    async def _score(self, end: End, recording: Recording, index: int, grading: Grading) -> End:
        sample = sample_of(
            recording.prompt, grading.reference, recording.text(index), end.tool_calls
        )
        scores = await scores_of(self._graders, grading, sample)
        return replace(end, scores=scores, exchange=recording.name)

    async def _find(self, model: str, field: str) -> Route | ServiceError:
        """Return what answers, or why nothing does.

        Raises:
            InvalidArgument: If the name is none.
        """
        try:
            return await self._routes.of_resource(model, field)
        except InvalidArgument:
            raise
        except ServiceError as error:
            return error


async def _drain(
    queue: asyncio.Queue[tuple[int, Piece]], pumps: Sequence[Coroutine[Any, Any, None]]
) -> AsyncGenerator[tuple[int, Piece], None]:
    """Yield what the pumps put into the queue until they are done and it is empty.

    Raises:
        Exception: The first of those that ended a pump.
    """

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for pump in pumps:
                group.create_task(pump)

    pumping = asyncio.create_task(run())
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


def _check(prompt: Prompt, grading: Grading, more: list[Violation]) -> None:
    """Refuse a request that breaks a rule.

    Raises:
        InvalidArgument: With every violation.
    """
    if found := [*more, *check_prompt(prompt), *check_grading(grading)]:
        raise invalid(found)


def _check_models(models: Sequence[str]) -> list[Violation]:
    if not COMPARED_MIN <= len(models) <= COMPARED_MAX:
        text = f"{len(models)} models; compare {COMPARED_MIN} to {COMPARED_MAX}."
        return [Violation("models", "COUNT", text)]
    projects = [model.split("/")[1] if "/" in model else "" for model in models]
    return [
        Violation(
            f"models.{index}",
            "PROJECT",
            f"'{models[index][:200]}' is not of the project '{projects[0][:80]}' of the first one. "
            "Compare models of one project.",
        )
        for index, project in enumerate(projects)
        if project != projects[0]
    ]
