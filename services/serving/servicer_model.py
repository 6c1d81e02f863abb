"""ModelService: decodes, calls, encodes."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

from typing import Any

from attune.serving.v1 import model_pb2 as pb
from attune.serving.v1.model_pb2_grpc import ModelServiceServicer

from services.common.names import parse
from services.common.paging import cut_page, page_size, page_token, read_page_token
from services.serving import wire
from services.serving.engine import Engine, EngineState
from services.serving.version import Version, describe_wait
from services.serving.version_store import VersionStore

PARENT = "projects/{project}/models/{model}"
JOB = "projects/{project}/jobs/{job}"


class ModelServicer(ModelServiceServicer):
    """Reads the registry."""

    def __init__(self, versions: VersionStore, engine: Engine) -> None:
        self._versions = versions
        self._engine = engine

    async def GetModelVersion(
        self, request: pb.GetModelVersionRequest, context: Any
    ) -> pb.ModelVersion:
        return self._encode(await self._versions.get(request.name))

    async def ListModelVersions(
        self, request: pb.ListModelVersionsRequest, context: Any
    ) -> pb.ListModelVersionsResponse:
        parent = parse(request.parent, PARENT, field="parent", wildcard="model")
        if request.job:
            parse(request.job, JOB, field="job")
        size = page_size(request.page_size)
        query = f"ListModelVersions {request.parent} {request.job}"
        found = await self._versions.list_page(
            parent["project"],
            parent["model"],
            request.job,
            read_page_token(request.page_token, query),
            size + 1,
        )
        page = cut_page([self._encode(version) for version in found], size)
        more = len(found) > len(page)
        return pb.ListModelVersionsResponse(
            model_versions=page,
            next_page_token=page_token(found[len(page) - 1].id, query) if more else "",
        )

    def _encode(self, version: Version) -> pb.ModelVersion:
        engine = self._engine
        reason = "" if engine.state is EngineState.READY else engine.reason
        now = describe_wait(version, engine.model_id, engine.revision, reason)
        return wire.version_to_proto(now)
