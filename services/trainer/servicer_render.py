"""RenderService: what training will really see of a row."""

from __future__ import annotations

import asyncio
from typing import Any

from attune.trainer.v1 import render_pb2 as pb
from attune.trainer.v1 import render_pb2_grpc

from services.common.artefacts import Artefacts
from services.common.errors import Violation, invalid
from services.trainer import wire
from services.trainer.fork_server import ForkServer
from services.trainer.models.base_models import find_local, list_local

PREVIEW_ROWS_MAX = 20
LENGTH_MIN = 16
LENGTH_MAX = 32_768
"""Tokens of a row that one answer shows; more would be no answer for a person."""


class RenderServicer(render_pb2_grpc.RenderServiceServicer):
    """Reads rows in a process of their own, which has the tokenizer library loaded."""

    def __init__(self, artefacts: Artefacts, forks: ForkServer) -> None:
        self._artefacts = artefacts
        self._forks = forks

    async def CountTokens(
        self, request: pb.CountTokensRequest, context: Any
    ) -> pb.CountTokensResponse:
        rows = wire.rows_from_request(request.rows)
        shape, folder = await asyncio.to_thread(find_local, self._artefacts, request.base_model)
        counts = await self._forks.render("count_tokens", folder, rows)
        if counts and isinstance(counts[0], Violation):
            raise invalid(counts)
        return pb.CountTokensResponse(
            counts=wire.counts_to_proto(counts),
            context_length=shape.context_length,
            base_model_revision=shape.revision,
        )

    async def RenderRows(
        self, request: pb.RenderRowsRequest, context: Any
    ) -> pb.RenderRowsResponse:
        rows = wire.rows_from_request(request.rows, PREVIEW_ROWS_MAX)
        if request.max_length and request.max_length < LENGTH_MIN:
            text = f"{request.max_length} is below {LENGTH_MIN}. Raise it, or leave it out."
            raise invalid([Violation("max_length", "OUT_OF_RANGE", text)])
        shape, folder = await asyncio.to_thread(find_local, self._artefacts, request.base_model)
        most = min(shape.context_length, LENGTH_MAX)
        length = min(request.max_length or most, most)
        previews = await self._forks.render("render_rows", folder, rows, length)
        if previews and isinstance(previews[0], Violation):
            raise invalid(previews)
        return pb.RenderRowsResponse(
            rows=wire.previews_to_proto(previews),
            context_length=shape.context_length,
            base_model_revision=shape.revision,
        )

    async def ListLocalModels(
        self, request: pb.ListLocalModelsRequest, context: Any
    ) -> pb.ListLocalModelsResponse:
        models = await asyncio.to_thread(list_local, self._artefacts)
        return pb.ListLocalModelsResponse(models=models)
