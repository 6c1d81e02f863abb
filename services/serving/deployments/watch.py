"""A deployment now, and whenever it changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from services.common.errors import NotFound
from services.serving.deployments.deployment import Deployment
from services.serving.deployments.deployment_store import DeploymentStore

POLL_S = 1.0
"""Between two looks without a commit of this process; another one may have changed it."""


async def watch(deployments: DeploymentStore, name: str) -> AsyncGenerator[Deployment, None]:
    """Yield a deployment, then again after each change, until it is deleted.

    Raises:
        InvalidArgument: If the name does not follow its pattern.
        NotFound: If there is none to begin with.
    """
    told = await deployments.get(name)
    yield told
    while True:
        await deployments.wait_for_commit(POLL_S)
        try:
            found = await deployments.get(name)
        except NotFound:
            return
        if found != told:
            yield found
            told = found
