"""From the name that a caller uses to what the engine must answer with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from services.common.errors import NotFound, Unavailable
from services.common.names import SEGMENT, VERSION, bad_name
from services.serving.deployments.deployment import Deployment
from services.serving.deployments.deployment_store import DeploymentStore
from services.serving.deployments.lot import Lot
from services.serving.deployments.recent import Recent
from services.serving.engines.pool import Engines
from services.serving.engines.weights import Weights
from services.serving.keys.keyring import Caller
from services.serving.registry.version import Version, check_ready, whole_weights
from services.serving.registry.version_store import VersionStore
from services.serving.targets.target import Client, Target

BASE_PREFIX = "base:"
LISTED_MAX = 1000
RETRY_AFTER_S = 5.0
VERSION_NAME = re.compile(rf"{SEGMENT.pattern}/{VERSION.pattern}")
"""A version as all commands write it: MODEL/NUMBER."""
BASE_NAME = re.compile(r"projects/([^/]+)/baseModels/([A-Za-z0-9._~-]{1,200})")


@dataclass(frozen=True)
class Route:
    """What answers."""

    weights: Weights
    """What computes the answer."""
    model_version: str
    """Name of the version; empty for a base."""
    deployment: str = ""
    """Name of the deployment that was called; empty when none was."""
    decision: str = ""
    """Etag of that deployment: which decision about it chose the version."""
    outside: Client | None = None
    """What asks the version where it is served outside; None where an engine of ours answers."""

    def hold(self, engines: Engines) -> AbstractAsyncContextManager[Client]:
        """Return a block that keeps what answers while it runs.

        Args:
            engines: All engines of ours; `Engines.hold` says how entering the block fails.
        """
        return engines.hold(self.weights) if self.outside is None else nullcontext(self.outside)


class Routes:
    """Finds what answers under a name."""

    def __init__(
        self,
        versions: VersionStore,
        deployments: DeploymentStore,
        targets: Mapping[str, Target],
        engines: Engines,
    ) -> None:
        """Keep where versions and deployments stand."""
        self._versions = versions
        self._deployments = deployments
        self._recent_versions = Recent[Version](lambda name, _: versions.get(name))
        self._recent_deployments = Recent[Deployment](
            lambda name, field: deployments.get(name, field=field)
        )
        for recent in (self._recent_versions, self._recent_deployments):
            deployments.on_commit(recent.forget)
        self._targets = targets
        self._engines = engines

    async def of_model_name(self, caller: Caller, model: str, lot: Lot) -> Route:
        """Return what answers to the `model` of an OpenAI request.

        Args:
            caller: Whose project and models are meant.
            model: An alias, a version as MODEL/NUMBER, or a base model's name.
            lot: Which way the request goes where there is a canary.

        Raises:
            NotFound: If there is no such model; the message lists those that there are.
            FailedPrecondition: If the version is not READY, or its files are not at hand.
        """
        project = caller.project
        if model in self._base_names():
            return await self._base(model.removeprefix(BASE_PREFIX))
        try:
            if SEGMENT.fullmatch(model):
                return await self._deployment(f"projects/{project}/deployments/{model}", lot=lot)
            if VERSION_NAME.fullmatch(model):
                name, number = model.split("/")
                resource = f"projects/{project}/models/{name}/versions/{number}"
                return await self._version(resource, "model")
        except NotFound:
            pass
        found = await self.list_models(project)
        names = ", ".join(name for name, _ in found if caller.may_call(name))
        raise NotFound(
            f"The model '{model[:200]}' does not exist. There are: {names}.",
            reason="NO_SUCH_MODEL",
            model=model[:200],
            models=names,
        )

    async def list_models(self, project: str) -> list[tuple[str, int]]:
        """Return the names that OpenAI requests may use, each with its time in Unix seconds.

        Aliases and bases; the versions that can be called are listed by ModelService.
        """
        deployments = await self._deployments.list_page(project, "", LISTED_MAX)
        named = [(item.alias, int(item.create_time.timestamp())) for item in deployments]
        return [*named, *((name, 0) for name in self._base_names())]

    async def of_resource(self, name: str, field: str) -> Route:
        """Return what answers to a resource name: a version, a deployment or a base model.

        Args:
            name: Of the resource.
            field: Request field that holds it; for the error.

        Raises:
            InvalidArgument: If it names nothing of the three.
            NotFound: If there is no such thing.
            FailedPrecondition: If the version is not READY, or its files are not at hand.
        """
        kind = name.split("/")[2:3]
        if kind == ["models"]:
            return await self._version(name, field)
        if kind == ["deployments"]:
            return await self._deployment(name, field)
        base = BASE_NAME.fullmatch(name)
        if base is None or not SEGMENT.fullmatch(base[1]):
            raise bad_name(
                field,
                name,
                "projects/{project}/models/{model}/versions/{version}, "
                "projects/{project}/deployments/{alias} or "
                "projects/{project}/baseModels/{base_model}",
            )
        return await self._base(base[2].replace("~", "/"))

    def _base_names(self) -> list[str]:
        """Return the names of the models that have engines, the warm one always among them."""
        running = [key.model_id for key in self._engines.groups()]
        names = dict.fromkeys([self._engines.options.warm_model, *running])
        return [BASE_PREFIX + name for name in names]

    async def _base(self, model_id: str) -> Route:
        return Route(await self._engines.locate(model_id), "")

    async def _deployment(self, name: str, field: str = "name", lot: Lot | None = None) -> Route:
        deployment = await self._recent_deployments.get(name, field)
        chosen = (lot or Lot()).choose(deployment.serving)
        if not chosen:
            raise _not_yet(deployment)
        version = await self._recent_versions.get(chosen)
        target = self._targets.get(deployment.target)
        weights = None if target is None else target.weights(version)
        if target is not None and weights is not None:
            return Route(weights, version.name, deployment.name, deployment.etag)
        outside = None if target is None else target.client(deployment, version)
        if outside is None:
            raise _not_yet(deployment)
        whole = whole_weights(version.merged_sha256)
        return Route(whole, version.name, deployment.name, deployment.etag, outside)

    async def _version(self, name: str, field: str) -> Route:
        version = await self._versions.get(name, field=field)
        check_ready(version)
        return Route(version.weights, version.name)


def _not_yet(deployment: Deployment) -> Unavailable:
    return Unavailable(
        f"{deployment.name} does not answer now: {deployment.state_reason}",
        reason="DEPLOYMENT_NOT_READY",
        retry_after_s=RETRY_AFTER_S,
        deployment=deployment.name,
        state=deployment.state.value,
    )
