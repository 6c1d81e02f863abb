"""Counts what becomes of requests in memory, and keeps it in the database every few seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from services.serving.deployments.arm_comparison import ArmComparison, compare
from services.serving.deployments.arm_figures import Arm, ArmFigures
from services.serving.deployments.arm_store import ArmStore
from services.serving.deployments.deployment import Deployment
from services.serving.deployments.route import Route

log = logging.getLogger(__name__)

Figures = dict[str, ArmFigures]
"""By name of the version."""
FLUSH_S = 3.0
"""Between two times that counts go to the database; a crash loses at most those since."""
ARMS_MAX = 4096
"""Arms that are counted between two flushes; requests to more of them are not counted."""


class Ended(Protocol):
    """A request that ended, as far as it is counted."""

    @property
    def route(self) -> Route | None:
        """What answered."""

    @property
    def status(self) -> int:
        """HTTP status, also of a stream that broke after it began."""

    @property
    def first_token_s(self) -> float | None:
        """From arrival to the first piece of a stream, in seconds."""

    @property
    def total_s(self) -> float:
        """From arrival to the end, in seconds."""


class ArmMeter:
    """What became of the requests to each version of each deployment since the last decision."""

    def __init__(self, arms: ArmStore) -> None:
        """Count nothing yet.

        Args:
            arms: Where counts are kept.
        """
        self._arms = arms
        self._counted: dict[Arm, ArmFigures] = {}
        """Since the last flush."""
        self._lock = asyncio.Lock()

    def observe(self, call: Ended) -> None:
        """Count a request that ended; one that reached no deployment is not counted."""
        route = call.route
        if route is None or not route.deployment:
            return
        arm = Arm(route.deployment, route.decision, route.model_version)
        if arm not in self._counted and len(self._counted) >= ARMS_MAX:
            return
        figures = self._counted.setdefault(arm, ArmFigures())
        figures.add(call.status, call.first_token_s, call.total_s)

    async def run(self) -> None:
        """Keep counts in the database, for ever; once more when it is cancelled."""
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Keep what was counted so far; what cannot be kept now is kept the next time."""
        async with self._lock:
            leaving, self._counted = self._counted, {}
            try:
                if leaving:
                    await self._arms.add(leaving)
            except BaseException as error:
                for arm, figures in leaving.items():
                    self._counted.setdefault(arm, ArmFigures()).merge(figures)
                if not isinstance(error, Exception):
                    raise
                log.exception("figures of deployments could not be kept")  # The loop must go on.

    async def figures(self, deployments: Sequence[Deployment]) -> list[Figures]:
        """Return for each deployment the figures of what was decided on, the canary last."""
        async with self._lock:  # Else what is on its way would be counted twice, or not at all.
            kept = await self._arms.load([one.etag for one in deployments])
            return [self._figures(one, kept) for one in deployments]

    def _figures(self, deployment: Deployment, kept: Mapping[Arm, ArmFigures]) -> Figures:
        found: Figures = {}
        for name in deployment.decided.model_versions:
            arm = Arm(deployment.name, deployment.etag, name)
            found[name] = kept.get(arm, ArmFigures())
            found[name].merge(self._counted.get(arm, ArmFigures()))
        return found


def comparison_of(deployment: Deployment, figures: Figures) -> ArmComparison | None:
    """Return what the figures say about promoting a canary; None without one.

    Args:
        deployment: With what was decided.
        figures: From the meter.
    """
    canary = deployment.decided.canary
    if canary is None:
        return None
    return compare(figures[deployment.decided.model_version], figures[canary.model_version])
