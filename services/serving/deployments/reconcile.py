"""Brings targets to what was decided, whatever restarts, and confirms it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from services.common.database import Database
from services.common.errors import Conflict, ServiceError
from services.common.waiting import until_set
from services.serving.deployments.deployment import Deployment, DeploymentState
from services.serving.deployments.deployment_store import DeploymentStore
from services.serving.engines.pool import Engines
from services.serving.engines.weights import Weights
from services.serving.registry.version import Version
from services.serving.registry.version_store import VersionStore
from services.serving.targets.target import Target, TargetFailed

log = logging.getLogger(__name__)

IDLE_S = 5.0
"""Between two looks; a commit causes one at once, and requests load what they need."""
RETRY_S = 1.0


class Reconciler:
    """Makes what is so of what was decided."""

    def __init__(
        self,
        database: Database,
        deployments: DeploymentStore,
        versions: VersionStore,
        targets: Mapping[str, Target],
        engines: Engines,
    ) -> None:
        """Keep what it needs and listen to commits."""
        self._deployments = deployments
        self._versions = versions
        self._targets = targets
        self._engines = engines
        self._wake = asyncio.Event()
        database.on_commit(self._wake.set)

    async def run(self) -> None:
        """Reconcile and confirm, for ever."""
        while True:
            self._wake.clear()
            try:
                waiting = await self._reconcile()
            except Exception:
                log.exception("reconciling deployments failed")  # The loop must go on.
                waiting = True
            if waiting:
                await self._engines.wait_for_change(RETRY_S)
                continue
            await until_set(self._wake, IDLE_S)

    async def _reconcile(self) -> bool:
        """Do what can be done now, and return whether something must wait."""
        deployments = await self._deployments.list_all()
        names = {name for one in deployments for name in one.needed_versions}
        versions = {one.name: one for one in await self._versions.list_named(names)}
        self._engines.want(self._wanted(deployments, versions))
        waiting = False
        for deployment in deployments:
            try:
                waiting |= await self._settle(deployment, versions)
            except Conflict:
                self._wake.set()  # Something else was decided in between; look again.
            except ServiceError as error:
                log.info("%s waits: %s", deployment.name, error.message)
                waiting = True
            except Exception:
                log.exception("reconciling %s failed", deployment.name)  # Others must go on.
                waiting = True
        return waiting

    def _wanted(
        self, deployments: list[Deployment], versions: Mapping[str, Version]
    ) -> list[Weights]:
        """Return what engines must hold: what was decided, and what answers until it is there."""
        found = []
        for deployment in deployments:
            if deployment.state is DeploymentState.DELETING:
                continue
            target = self._targets.get(deployment.target)
            for arms in (deployment.decided, deployment.serving):
                for name in arms.model_versions:
                    if target is not None and name in versions:
                        found.append(target.weights(versions[name]))
        return [one for one in found if one is not None]

    async def _settle(self, deployment: Deployment, versions: Mapping[str, Version]) -> bool:
        """Bring one deployment forward, and return whether it must wait."""
        target = self._targets.get(deployment.target)
        if target is None:
            await self._deployments.tell(
                deployment, f"The target '{deployment.target}' is not offered here any more."
            )
            return False
        if deployment.state is DeploymentState.DELETING:
            try:
                is_gone = await target.withdraw(deployment)
            except TargetFailed as error:
                await self._deployments.tell(deployment, str(error))
                return True
            if is_gone:
                await self._deployments.remove(deployment)
            return not is_gone
        if deployment.state is DeploymentState.FAILED:
            return False
        wanted = [versions[name] for name in deployment.decided.model_versions]
        try:
            progress = await target.reconcile(deployment, wanted)
        except TargetFailed as error:
            await self._deployments.fail(deployment, str(error))
            return False
        if deployment.state is DeploymentState.PENDING and progress.is_done:
            await self._deployments.confirm(deployment, progress.external_name)
            log.info("%s is READY", deployment.name)
        elif deployment.state is DeploymentState.PENDING:
            await self._deployments.tell(deployment, progress.message)
        return not progress.is_done
