"""What the targets at AWS share: a whole model per version, brought there step by step."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from services.common.artefacts import Artefacts
from services.serving.deployments.deployment import Deployment
from services.serving.engines.weights import Weights
from services.serving.registry.version import Version
from services.serving.targets.aws import Aws, AwsRefused, Names
from services.serving.targets.aws_client import AwsClient
from services.serving.targets.aws_upload import Uploads
from services.serving.targets.merging import Merging
from services.serving.targets.pace import Pace
from services.serving.targets.target import Client, Progress, TargetFailed

log = logging.getLogger(__name__)


class AwsTarget(ABC):
    """Merges and uploads versions, lets a service of AWS serve them, and tidies up after them.

    What serves a version has one name at AWS (`Names.of`), whatever the service calls it.
    """

    has_canary = True
    service: ClassVar[str]
    """Of AWS, as botocore calls it."""

    def __init__(self, aws: Aws, merging: Merging, artefacts: Artefacts, pace: Pace) -> None:
        """Keep what it needs.

        Args:
            aws: Calls AWS.
            merging: Makes whole models of adapters.
            artefacts: Where whole models are.
            pace: How often AWS is looked at.
        """
        self._aws = aws
        self._options = aws.options
        self._merging = merging
        self._artefacts = artefacts
        self._uploads = Uploads(aws)
        self._pace = pace
        self._proved: set[str] = set()
        """Names of what answered a chat."""

    async def prepare(self, version: Version) -> bool:
        """Return false: it takes minutes."""
        return False

    async def reconcile(self, deployment: Deployment, versions: Sequence[Version]) -> Progress:
        """Merge, upload, have it served, and delete what nothing needs any more.

        Raises:
            TargetFailed: If AWS refuses or gives up, or what it serves does not answer.
        """
        return await self._pace.of(deployment, lambda: self._look(deployment, versions))

    async def withdraw(self, deployment: Deployment) -> bool:
        """Delete everything of a deployment, as far as AWS lets it go by now.

        Raises:
            TargetFailed: If AWS refuses.
        """
        names = Names(self._options, deployment)
        progress = await self._pace.of(deployment, lambda: self._withdraw(names))
        if progress.is_done:
            self._pace.forget(deployment)
        return progress.is_done

    def weights(self, version: Version) -> Weights | None:
        """Return none: no engine of ours holds it."""
        return None

    def client(self, deployment: Deployment, version: Version) -> Client | None:
        """Return what asks a version at AWS; None while it cannot be there."""
        weights = self._merging.weights(version)
        if weights is None:
            return None
        return self._client(Names(self._options, deployment).of(version, weights))

    async def _look(self, deployment: Deployment, versions: Sequence[Version]) -> Progress:
        names = Names(self._options, deployment)
        served = []
        for version in versions:
            weights = await self._merging.advance(version)
            if weights is None:
                return Progress(is_done=False, message="The adapter is merged into its base.")
            served.append(names.of(version, weights))
            if message := await self._advance(names, version, weights):
                return Progress(is_done=False, message=message)
        try:
            await self._prune(names)
        except TargetFailed as error:
            log.warning("%s answers, but: %s", deployment.name, error)
        return Progress(is_done=True, external_name=self._external_name(served[0]))

    @abstractmethod
    async def _advance(self, names: Names, version: Version, weights: Weights) -> str:
        """Bring one version nearer to answering; return how far it is, empty when it answers.

        Raises:
            TargetFailed: If AWS refuses or gives up, or it does not answer.
        """

    @abstractmethod
    async def _prune(self, names: Names) -> None:
        """Delete what is not needed beside what answers.

        Raises:
            TargetFailed: If AWS refuses.
        """

    @abstractmethod
    async def _withdraw(self, names: Names) -> Progress:
        """Delete everything of a deployment, and return how far that is.

        Raises:
            TargetFailed: If AWS refuses.
        """

    @abstractmethod
    def _client(self, served: str) -> AwsClient:
        """Return what asks something by its name at AWS."""

    @abstractmethod
    def _external_name(self, served: str) -> str:
        """Return what people find it by at AWS."""

    def _upload(self, names: Names, weights: Weights, served: str) -> str:
        """Bring the upload of a whole model nearer to its end; empty when it is there."""
        folder = self._artefacts.model(weights.model_id) / weights.revision
        return self._uploads.advance(folder, prefix_of(names, served))

    def _is_proved(self, names: Names, version: Version, served: str) -> bool:
        """Return whether a chat need not be asked again: it costs."""
        return served in self._proved or version.name in names.deployment.serving.model_versions

    async def _remove_objects(self, names: Names, kept: tuple[str, ...] = ()) -> None:
        """Delete the objects of a deployment but those of what begins so."""
        prefixes = tuple(prefix_of(names, one).rstrip("/") for one in kept)
        try:
            await self._uploads.remove(names.folder, prefixes)
        except AwsRefused as error:
            raise error.failure("to delete objects") from None

    async def _call(self, operation: str, doing: str, **arguments: Any) -> None:
        try:
            await self._aws.call(self.service, operation, **arguments)
        except AwsRefused as error:
            raise error.failure(doing) from None

    async def _list(self, operation: str, key: str, **arguments: str) -> list[dict[str, Any]]:
        try:
            return await self._aws.list(self.service, operation, key, **arguments)
        except AwsRefused as error:
            raise error.failure("to list what is there") from None

    async def _describe(
        self, operation: str, doing: str, **arguments: str
    ) -> dict[str, Any] | None:
        """Return what AWS says of something; None if there is none."""
        try:
            return await self._aws.call(self.service, operation, **arguments)
        except AwsRefused as error:
            if error.is_missing:
                return None
            raise error.failure(doing) from None


def prefix_of(names: Names, served: str) -> str:
    """Return the prefix of the keys of one version's objects."""
    return f"{names.folder}{served}/"
