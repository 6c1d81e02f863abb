"""PlaygroundService: decodes, calls, encodes."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from attune.serving.v1 import playground_pb2 as pb
from attune.serving.v1.playground_pb2_grpc import PlaygroundServiceServicer

from services.serving import wire
from services.serving.deployments.route import Routes
from services.serving.playground import generation
from services.serving.playground.playground import Playground


class PlaygroundServicer(PlaygroundServiceServicer):
    """Streams answers."""

    def __init__(self, routes: Routes, playground: Playground) -> None:
        self._routes = routes
        self._playground = playground

    async def Generate(
        self, request: pb.GenerateRequest, context: Any
    ) -> AsyncIterator[pb.GenerateResponse]:
        messages = wire.messages_from_proto(request.prompt.messages)
        sampling = wire.sampling_from_proto(request.prompt.sampling)
        generation.check(messages, sampling)
        route = await self._routes.of_resource(request.model, "model")
        answer = self._playground.generate(route, messages, sampling)
        async with contextlib.aclosing(answer) as pieces:
            async for piece in pieces:
                yield wire.piece_to_proto(piece)

    async def Compare(
        self, request: pb.CompareRequest, context: Any
    ) -> AsyncIterator[pb.CompareResponse]:
        messages = wire.messages_from_proto(request.prompt.messages)
        sampling = wire.sampling_from_proto(request.prompt.sampling)
        generation.check_compared(request.models)
        generation.check(messages, sampling)
        routes = [
            await self._routes.of_resource(model, f"models.{index}")
            for index, model in enumerate(request.models)
        ]
        answers = self._playground.compare(routes, messages, sampling)
        async with contextlib.aclosing(answers) as pieces:
            async for index, piece in pieces:
                yield pb.CompareResponse(model_index=index, response=wire.piece_to_proto(piece))
