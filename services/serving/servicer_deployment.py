"""DeploymentService: decodes, calls, encodes."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

from typing import Any

from attune.serving.v1 import deployment_pb2 as pb
from attune.serving.v1.deployment_pb2_grpc import DeploymentServiceServicer

from services.common.names import parse
from services.common.paging import read_page
from services.serving import wire
from services.serving.deployment_store import DeploymentStore
from services.serving.switch import Switch

PARENT = "projects/{project}"


class DeploymentServicer(DeploymentServiceServicer):
    """Makes, changes and reads deployments."""

    def __init__(self, deployments: DeploymentStore, switch: Switch) -> None:
        self._deployments = deployments
        self._switch = switch

    async def CreateDeployment(
        self, request: pb.CreateDeploymentRequest, context: Any
    ) -> pb.Deployment:
        project = parse(request.parent, PARENT, field="parent")["project"]
        return await self._switch.create(request, project)

    async def UpdateDeployment(
        self, request: pb.UpdateDeploymentRequest, context: Any
    ) -> pb.Deployment:
        return await self._switch.update(request)

    async def GetDeployment(self, request: pb.GetDeploymentRequest, context: Any) -> pb.Deployment:
        found = await self._deployments.get(request.name)
        return wire.deployment_to_proto(found, self._deployments.endpoint)

    async def ListDeployments(
        self, request: pb.ListDeploymentsRequest, context: Any
    ) -> pb.ListDeploymentsResponse:
        project = parse(request.parent, PARENT, field="parent")["project"]
        endpoint = self._deployments.endpoint

        async def fetch(after: str, limit: int) -> list[tuple[str, pb.Deployment]]:
            found = await self._deployments.list_page(project, after, limit)
            return [(item.alias, wire.deployment_to_proto(item, endpoint)) for item in found]

        page, token = await read_page(request, f"ListDeployments {request.parent}", fetch)
        return pb.ListDeploymentsResponse(deployments=page, next_page_token=token)
