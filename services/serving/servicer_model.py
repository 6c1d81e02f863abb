"""ModelService: decodes, calls, encodes."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

from typing import Any

from attune.serving.v1 import model_pb2 as pb
from attune.serving.v1.model_pb2_grpc import ModelServiceServicer

from services.common.names import parse
from services.common.paging import read_page
from services.serving import wire
from services.serving.engines.pool import Engines
from services.serving.registry.deletion import Deletions
from services.serving.registry.export import VersionExports
from services.serving.registry.version import Version, describe_wait
from services.serving.registry.version_store import VersionStore

PARENT = "projects/{project}/models/{model}"
JOB = "projects/{project}/jobs/{job}"


class ModelServicer(ModelServiceServicer):
    """Reads the registry, takes versions out of it, writes them as folders."""

    def __init__(
        self,
        versions: VersionStore,
        engines: Engines,
        deletions: Deletions,
        exports: VersionExports,
    ) -> None:
        self._versions = versions
        self._engines = engines
        self._deletions = deletions
        self._exports = exports

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
        project, model = parent["project"], parent["model"]

        async def fetch(after: str, limit: int) -> list[tuple[str, pb.ModelVersion]]:
            found = await self._versions.list_page(project, model, request.job, after, limit)
            return [(version.id, self._encode(version)) for version in found]

        query = f"ListModelVersions {request.parent} {request.job}"
        page, token = await read_page(request, query, fetch)
        return pb.ListModelVersionsResponse(model_versions=page, next_page_token=token)

    async def DeleteModelVersion(
        self, request: pb.DeleteModelVersionRequest, context: Any
    ) -> pb.DeleteModelVersionResponse:
        freed = await self._deletions.delete(request.name)
        return pb.DeleteModelVersionResponse(freed_bytes=freed.size_bytes, kept=freed.kept)

    async def ExportModelVersion(
        self, request: pb.ExportModelVersionRequest, context: Any
    ) -> pb.ExportModelVersionResponse:
        made = await self._exports.export(request.name)
        return pb.ExportModelVersionResponse(
            uri=made.folder.as_uri(), command=made.command, size_bytes=made.size_bytes
        )

    def _encode(self, version: Version) -> pb.ModelVersion:
        wait = self._engines.waits_for(version.weights)
        return wire.version_to_proto(describe_wait(version, wait.message if wait else ""))
