"""EngineService: decodes, calls, encodes."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

from typing import Any

from attune.serving.v1 import engine_pb2 as pb
from attune.serving.v1.engine_pb2_grpc import EngineServiceServicer

from services.serving import wire_engine
from services.serving.engines.pool import Engines
from services.serving.registry.version_store import VersionStore

LISTED_MAX = 64


class EngineServicer(EngineServiceServicer):
    """Shows the engines."""

    def __init__(self, engines: Engines, versions: VersionStore) -> None:
        self._engines = engines
        self._versions = versions

    async def ListEngines(
        self, request: pb.ListEnginesRequest, context: Any
    ) -> pb.ListEnginesResponse:
        held = {
            adapter
            for group in self._engines.groups().values()
            for member in group.members
            for adapter in member.adapters.held
        }
        names = await self._versions.names_of_adapters(held)
        found = wire_engine.engines_to_proto(self._engines, names)
        return pb.ListEnginesResponse(engines=found[:LISTED_MAX])
