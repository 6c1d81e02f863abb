"""Points aliases at versions without a request that fails in between."""

from __future__ import annotations

from attune.serving.v1 import deployment_pb2 as pb

from services.common.errors import FailedPrecondition, Unavailable
from services.serving.adapters import Adapters
from services.serving.deployment import check_etag, check_mask, check_request, check_servable
from services.serving.deployment_store import DeploymentStore
from services.serving.engine import Engine
from services.serving.engine_client import EngineRefused
from services.serving.version_store import VersionStore


class Switch:
    """Makes and changes deployments."""

    def __init__(
        self,
        deployments: DeploymentStore,
        versions: VersionStore,
        adapters: Adapters,
        engine: Engine,
    ) -> None:
        """Keep what a switch needs."""
        self._deployments = deployments
        self._versions = versions
        self._adapters = adapters
        self._engine = engine

    async def create(self, request: pb.CreateDeploymentRequest, project: str) -> pb.Deployment:
        """Make a deployment; it is PENDING until the engine holds its version.

        Raises:
            InvalidArgument: If alias, target or version breaks its rule.
            NotFound: If there is no such version.
            FailedPrecondition: If the version is not READY, or of another base.
            AlreadyExists: If the alias is taken.
            ResourceExhausted: If too many adapters are deployed.
        """
        if answer := await self._deployments.find_answer(request):
            return answer
        check_request(request.deployment_id, request.deployment.target)
        field = "deployment.model_version"
        version = await self._versions.get(request.deployment.model_version, field=field)
        check_servable(version, self._engine.model_id, self._engine.revision)
        return await self._deployments.create(request, project, version)

    async def update(self, request: pb.UpdateDeploymentRequest) -> pb.Deployment:
        """Point an alias at another version: load it first, then switch.

        Raises:
            InvalidArgument: If the mask names another field, or a name breaks its rule.
            NotFound: If there is no such deployment or version.
            FailedPrecondition: If the version is not READY, or of another base.
            Conflict: If the etag is not the newest one.
            ResourceExhausted: If too many adapters are deployed.
        """
        if answer := await self._deployments.find_answer(request):
            return answer
        check_mask(list(request.update_mask.paths))
        deployment = await self._deployments.get(request.deployment.name, field="deployment.name")
        check_etag(deployment, request.deployment.etag)
        field = "deployment.model_version"
        version = await self._versions.get(request.deployment.model_version, field=field)
        check_servable(version, self._engine.model_id, self._engine.revision)
        try:
            async with self._adapters.hold(version.adapter_sha256):
                return await self._deployments.switch(request, version, held=True)
        except Unavailable:
            # Nothing answers now, so nothing can fail: the switch is kept and done later.
            return await self._deployments.switch(request, version, held=False)
        except EngineRefused as error:
            raise FailedPrecondition(
                f"The engine refuses {version.name}: {error.message}",
                reason="ENGINE_REFUSED",
                model_version=version.name,
                cause=error.message,
            ) from None
