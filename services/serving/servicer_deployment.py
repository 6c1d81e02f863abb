"""DeploymentService: decodes, calls, encodes."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

from collections.abc import AsyncIterator, Sequence
from typing import Any

from attune.serving.v1 import deployment_pb2 as pb
from attune.serving.v1.deployment_pb2_grpc import DeploymentServiceServicer

from services.common.names import parse
from services.common.paging import read_page
from services.serving import wire
from services.serving.deployments.arm_meter import ArmMeter, comparison_of
from services.serving.deployments.deployer import Deployer
from services.serving.deployments.deployment import Deployment
from services.serving.deployments.deployment_store import DeploymentStore
from services.serving.deployments.watch import watch

PARENT = "projects/{project}"


class DeploymentServicer(DeploymentServiceServicer):
    """Makes, changes and reads deployments."""

    def __init__(self, deployments: DeploymentStore, deployer: Deployer, meter: ArmMeter) -> None:
        self._deployments = deployments
        self._deployer = deployer
        self._meter = meter

    async def ListDeployTargets(
        self, request: pb.ListDeployTargetsRequest, context: Any
    ) -> pb.ListDeployTargetsResponse:
        found = await self._deployer.offers(request.model_version)
        targets = [wire.recommendation_to_proto(one) for one in found]
        return pb.ListDeployTargetsResponse(targets=targets)

    async def CreateDeployment(
        self, request: pb.CreateDeploymentRequest, context: Any
    ) -> pb.Deployment:
        project = parse(request.parent, PARENT, field="parent")["project"]
        return await self._deployer.create(request, project)

    async def UpdateDeployment(
        self, request: pb.UpdateDeploymentRequest, context: Any
    ) -> pb.Deployment:
        return await self._deployer.update(request)

    async def PromoteDeployment(
        self, request: pb.PromoteDeploymentRequest, context: Any
    ) -> pb.Deployment:
        return await self._deployer.promote(request)

    async def RollbackDeployment(
        self, request: pb.RollbackDeploymentRequest, context: Any
    ) -> pb.Deployment:
        return await self._deployer.roll_back(request)

    async def DeleteDeployment(
        self, request: pb.DeleteDeploymentRequest, context: Any
    ) -> pb.Deployment:
        return await self._deployer.delete(request)

    async def GetDeployment(self, request: pb.GetDeploymentRequest, context: Any) -> pb.Deployment:
        (message,) = await self._encode([await self._deployments.get(request.name)])
        return message

    async def ListDeployments(
        self, request: pb.ListDeploymentsRequest, context: Any
    ) -> pb.ListDeploymentsResponse:
        project = parse(request.parent, PARENT, field="parent")["project"]

        async def fetch(after: str, limit: int) -> list[tuple[str, pb.Deployment]]:
            found = await self._deployments.list_page(project, after, limit)
            aliases = [item.alias for item in found]
            return list(zip(aliases, await self._encode(found), strict=True))

        page, token = await read_page(request, f"ListDeployments {request.parent}", fetch)
        return pb.ListDeploymentsResponse(deployments=page, next_page_token=token)

    async def WatchDeployment(
        self, request: pb.WatchDeploymentRequest, context: Any
    ) -> AsyncIterator[pb.WatchDeploymentResponse]:
        async for found in watch(self._deployments, request.name):
            (message,) = await self._encode([found])
            yield pb.WatchDeploymentResponse(deployment=message)

    async def ListDeploymentChanges(
        self, request: pb.ListDeploymentChangesRequest, context: Any
    ) -> pb.ListDeploymentChangesResponse:
        async def fetch(after: str, limit: int) -> list[tuple[str, pb.DeploymentChange]]:
            found = await self._deployments.list_changes(request.parent, after, limit)
            return [(key, wire.change_to_proto(change)) for key, change in found]

        page, token = await read_page(request, f"ListDeploymentChanges {request.parent}", fetch)
        return pb.ListDeploymentChangesResponse(changes=page, next_page_token=token)

    async def _encode(self, found: Sequence[Deployment]) -> list[pb.Deployment]:
        endpoint, messages = self._deployments.endpoint, []
        for one, figures in zip(found, await self._meter.figures(found), strict=True):
            compared = comparison_of(one, figures)
            text = "" if compared is None else compared.text
            messages.append(wire.deployment_to_proto(one, endpoint, figures, text))
        return messages
