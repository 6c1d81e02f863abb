"""PlaygroundService: decodes, calls, encodes."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from attune.serving.v1 import playground_pb2 as pb
from attune.serving.v1.playground_pb2_grpc import PlaygroundServiceServicer

from services.common.names import parse
from services.common.paging import read_page
from services.serving import wire_playground as wire
from services.serving.playground.export import PARENT, PreferenceExports
from services.serving.playground.history import History
from services.serving.playground.playground import Playground


class PlaygroundServicer(PlaygroundServiceServicer):
    """Streams answers, and keeps what people think of them."""

    def __init__(
        self, playground: Playground, history: History, exports: PreferenceExports
    ) -> None:
        self._playground = playground
        self._history = history
        self._exports = exports

    async def Generate(
        self, request: pb.GenerateRequest, context: Any
    ) -> AsyncIterator[pb.GenerateResponse]:
        prompt = wire.prompt_from_proto(request.prompt)
        grading = wire.grading_from_proto(request.grading)
        answer = self._playground.generate(request.model, prompt, grading)
        async with contextlib.aclosing(answer) as pieces:
            async for piece in pieces:
                yield wire.piece_to_proto(piece)

    async def Compare(
        self, request: pb.CompareRequest, context: Any
    ) -> AsyncIterator[pb.CompareResponse]:
        prompt = wire.prompt_from_proto(request.prompt)
        grading = wire.grading_from_proto(request.grading)
        answers = self._playground.compare(list(request.models), prompt, grading)
        async with contextlib.aclosing(answers) as pieces:
            async for index, piece in pieces:
                yield pb.CompareResponse(model_index=index, response=wire.piece_to_proto(piece))

    async def ListExchanges(
        self, request: pb.ListExchangesRequest, context: Any
    ) -> pb.ListExchangesResponse:
        project = parse(request.parent, PARENT, field="parent")["project"]

        async def fetch(after: str, limit: int) -> list[tuple[str, pb.Exchange]]:
            return await self._history.fetch(project, after, limit, request.with_preference)

        query = f"ListExchanges {request.parent} {request.with_preference}"
        page, token = await read_page(request, query, fetch)
        return pb.ListExchangesResponse(exchanges=page, next_page_token=token)

    async def RecordPreference(
        self, request: pb.RecordPreferenceRequest, context: Any
    ) -> pb.Exchange:
        return await self._history.record(request)

    async def ExportPreferences(
        self, request: pb.ExportPreferencesRequest, context: Any
    ) -> pb.ExportPreferencesResponse:
        return await self._exports.export(request, wire.shape_from_proto(request.shape))
