"""RenderService: what training will really see of a row."""

from __future__ import annotations

import asyncio
from typing import Any

from attune.trainer.v1 import render_pb2 as pb
from attune.trainer.v1 import render_pb2_grpc

from services.common.artefacts import Artefacts
from services.common.errors import Violation, invalid
from services.trainer import wire
from services.trainer.base_models import find_local, list_local
from services.trainer.fork_server import ForkServer


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

    async def ListLocalModels(
        self, request: pb.ListLocalModelsRequest, context: Any
    ) -> pb.ListLocalModelsResponse:
        models = await asyncio.to_thread(list_local, self._artefacts)
        return pb.ListLocalModelsResponse(models=models)
