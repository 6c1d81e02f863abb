"""Canned answers of deployments in which everything goes well."""

from attune.serving.v1 import deployment_pb2, deployment_pb2_grpc

from services.common import errors

PROJECT = "projects/default"


class CannedDeployments(deployment_pb2_grpc.DeploymentServiceServicer):
    """Answers like a system that offers two targets and deploys at once."""

    def __init__(self) -> None:
        super().__init__()
        self.aliases: dict[str, str] = {}
        """The version of each alias."""

    async def ListDeployTargets(self, request, context):
        self._keep(request)
        return deployment_pb2.ListDeployTargetsResponse(
            targets=[
                {"target": "shared", "title": "Shared engine", "recommended": True},
                {"target": "dedicated", "title": "Dedicated engine"},
            ]
        )

    async def CreateDeployment(self, request, context):
        self._keep(request)
        if request.deployment_id in self.aliases:
            raise errors.AlreadyExists("The alias is taken.", reason="ALIAS_TAKEN")
        self.aliases[request.deployment_id] = request.deployment.model_version
        return self._deployment(
            f"{PROJECT}/deployments/{request.deployment_id}",
            request.deployment.model_version,
            deployment_pb2.Deployment.STATE_PENDING,
        )

    async def UpdateDeployment(self, request, context):
        self._keep(request)
        self.aliases[request.deployment.name.rsplit("/", 1)[1]] = request.deployment.model_version
        return self._deployment(request.deployment.name, request.deployment.model_version)

    async def GetDeployment(self, request, context):
        self._keep(request)
        alias = request.name.rsplit("/", 1)[1]
        if alias not in self.aliases:
            raise errors.NotFound(f"There is no {request.name}.", reason="NO_SUCH_DEPLOYMENT")
        return self._deployment(request.name, self.aliases[alias])

    def _deployment(self, name, version, state=deployment_pb2.Deployment.STATE_READY):
        found = deployment_pb2.Deployment(
            name=name, model_version=version, target="shared", state=state, endpoint=self.openai
        )
        figures = found.arms.add(model_version=version, request_count=3702, error_count=11)
        figures.total_p50.FromMilliseconds(1200)
        figures.total_p95.FromMilliseconds(2400)
        return found
