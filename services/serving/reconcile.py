"""Keeps what is deployed in the engine, whatever restarts, and confirms it."""

from __future__ import annotations

import asyncio
import logging

from services.common.database import Database
from services.common.errors import Conflict, ResourceExhausted, Unavailable
from services.serving.adapters import Adapters
from services.serving.deployment import Deployment, DeploymentState
from services.serving.deployment_store import DeploymentStore
from services.serving.engine import Engine
from services.serving.engine_client import EngineRefused
from services.serving.version_store import VersionStore

log = logging.getLogger(__name__)

IDLE_S = 5.0
"""Between two looks; a commit causes one at once, and requests load what they need."""
RETRY_S = 1.0


class Reconciler:
    """Brings the engine to what the database says."""

    def __init__(
        self,
        database: Database,
        deployments: DeploymentStore,
        versions: VersionStore,
        adapters: Adapters,
        engine: Engine,
    ) -> None:
        """Keep what it needs and listen to commits."""
        self._deployments = deployments
        self._versions = versions
        self._adapters = adapters
        self._engine = engine
        self._wake = asyncio.Event()
        database.on_commit(self._wake.set)

    async def run(self) -> None:
        """Load and confirm what is deployed, for ever."""
        while True:
            await self._engine.wait_until_ready()
            self._wake.clear()
            try:
                await self._reconcile()
            except Unavailable as error:
                log.info("deployments wait: %s", error.message)
                await asyncio.sleep(RETRY_S)
                continue
            except Exception:
                log.exception("reconciling deployments failed")  # The loop must go on.
                await asyncio.sleep(RETRY_S)
                continue
            try:
                await asyncio.wait_for(self._wake.wait(), IDLE_S)
            except TimeoutError:
                continue

    async def _reconcile(self) -> None:
        deployments = await self._deployments.list_all()
        self._adapters.set_deployed({item.adapter_sha256 for item in deployments})
        for deployment in deployments:
            version = await self._versions.get(deployment.model_version)
            if version.base_model_revision != self._engine.revision:
                log.warning("%s belongs to another base model", deployment.name)
                continue
            await self._load(deployment)

    async def _load(self, deployment: Deployment) -> None:
        try:
            async with self._adapters.hold(deployment.adapter_sha256):
                if deployment.state is DeploymentState.PENDING:
                    await self._deployments.confirm(deployment)
                    log.info("%s is READY", deployment.name)
        except Conflict:
            self._wake.set()  # It was pointed elsewhere in between; look again.
        except (EngineRefused, ResourceExhausted) as error:
            log.error("%s cannot be loaded: %s", deployment.name, error)
