"""From the name that a caller uses to what the engine must answer with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.common.errors import NotFound
from services.common.names import SEGMENT, bad_name
from services.serving.deployment import check_servable
from services.serving.deployment_store import DeploymentStore
from services.serving.engine import Engine
from services.serving.version_store import VersionStore

PROJECT = "default"
"""Whose deployments the OpenAI-compatible endpoint serves."""
BASE_PREFIX = "base:"
LISTED_MAX = 1000
BASE_NAME = re.compile(r"projects/([^/]+)/baseModels/([A-Za-z0-9._~-]{1,200})")


@dataclass(frozen=True)
class Route:
    """What answers."""

    engine_model: str
    """Name in the engine: the base's id or the adapter's hash."""
    adapter_sha256: str
    """Empty for a base."""
    model_version: str
    """Name of the version; empty for a base."""


class Routes:
    """Finds what answers under a name."""

    def __init__(
        self, versions: VersionStore, deployments: DeploymentStore, engine: Engine
    ) -> None:
        """Keep where versions and deployments stand."""
        self._versions = versions
        self._deployments = deployments
        self._engine = engine

    async def of_model_name(self, model: str) -> Route:
        """Return what answers to the `model` of an OpenAI request.

        Raises:
            NotFound: If there is no such model; the message lists those that there are.
            FailedPrecondition: If it belongs to another base than the engine's.
        """
        if model == BASE_PREFIX + self._engine.model_id:
            return self._base()
        if SEGMENT.fullmatch(model):
            try:
                return await self._deployment(f"projects/{PROJECT}/deployments/{model}")
            except NotFound:
                pass
        names = ", ".join(name for name, _ in await self.list_models())
        raise NotFound(
            f"The model '{model[:200]}' does not exist. There are: {names}.",
            reason="NO_SUCH_MODEL",
            model=model[:200],
            models=names,
        )

    async def list_models(self) -> list[tuple[str, int]]:
        """Return the names that OpenAI requests may use, each with its time in Unix seconds."""
        deployments = await self._deployments.list_page(PROJECT, "", LISTED_MAX)
        named = [(item.alias, int(item.create_time.timestamp())) for item in deployments]
        return [*named, (BASE_PREFIX + self._engine.model_id, 0)]

    async def of_resource(self, name: str, field: str) -> Route:
        """Return what answers to a resource name: a version, a deployment or a base model.

        Args:
            name: Of the resource.
            field: Request field that holds it; for the error.

        Raises:
            InvalidArgument: If it names nothing of the three.
            NotFound: If there is no such thing.
            FailedPrecondition: If the version is not READY or of another base.
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
        if base[2].replace("~", "/") != self._engine.model_id:
            known = self._engine.model_id
            raise NotFound(
                f"There is no engine for {name}. There is one for {known}.",
                reason="NO_SUCH_BASE_MODEL",
                name=name,
                base_model=known,
            )
        return self._base()

    def _base(self) -> Route:
        return Route(self._engine.model_id, "", "")

    async def _deployment(self, name: str, field: str = "name") -> Route:
        deployment = await self._deployments.get(name, field=field)
        return await self._version(deployment.model_version, field)

    async def _version(self, name: str, field: str) -> Route:
        version = await self._versions.get(name, field=field)
        check_servable(version, self._engine.model_id, self._engine.revision)
        return Route(version.adapter_sha256, version.adapter_sha256, version.name)
