"""The target `dedicated`: a whole model on engines of its own, shared with nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.common.artefacts import Artefacts
from services.common.errors import FailedPrecondition, ResourceExhausted, Unavailable
from services.serving.deployments.deployment import Deployment
from services.serving.engines.engine_client import EngineRefused
from services.serving.engines.pool import Engines
from services.serving.engines.weights import Weights
from services.serving.registry.parity import compare
from services.serving.registry.proof import Unservable, answer_all, read_parity
from services.serving.registry.version import Version
from services.serving.targets.merging import Merging
from services.serving.targets.target import Client, Offer, Progress, TargetFailed

NAME = "dedicated"


class Dedicated:
    """Adapters are merged into their base first; what was merged is proved like any version."""

    name = NAME
    has_canary = True

    def __init__(self, engines: Engines, merging: Merging, artefacts: Artefacts) -> None:
        """Keep what it needs.

        Args:
            engines: All engines.
            merging: Makes whole models of adapters.
            artefacts: Where whole models are.
        """
        self._engines = engines
        self._merging = merging
        self._artefacts = artefacts
        self._proved: set[str] = set()
        """Hashes of merged models that reproduce their adapters."""

    async def offer(self, version: Version) -> Offer:
        """Return what it means for a version."""
        merging = "" if not version.is_adapter else "The adapter is merged into its base, and "
        what = f"{merging}the whole model is loaded into engines that nothing else uses."
        process_max = self._engines.options.process_max
        return Offer(
            target=self.name,
            title="Dedicated engine",
            description=what[0].upper() + what[1:],
            cost="An engine of its own, in memory and in cores, for as long as it is deployed.",
            hour_cost_micro_usd=None,
            latency=(
                "Answers when its engine is loaded, a minute or more after the decision; then as "
                "fast as its base, whatever other models do."
            ),
            limits=(
                f"This machine runs {process_max} engines at most, the warm one of "
                f"{self._engines.options.warm_model} among them.",
                "A switch to another version loads another engine first.",
            ),
            objection="" if process_max > 1 else "This machine runs one engine, the warm one.",
        )

    def check(self, version: Version, others: Sequence[tuple[Deployment, Version]]) -> None:
        """Refuse one model too many.

        Raises:
            ResourceExhausted: If there are as many dedicated models as engines.
        """
        room = self._engines.options.process_max - 1
        names = {other.name for _, other in others} | {version.name}
        if len(names) > room:
            raise ResourceExhausted(
                f"{len(names) - 1} models have engines of their own, and this machine has room "
                f"for {room}. Delete a deployment, raise ATTUNE_SERVING_ENGINE_PROCESSES_MAX, or "
                "deploy to the target 'shared'.",
                reason="NO_ROOM_FOR_ENGINE",
                engine_max=str(room),
            )

    async def prepare(self, version: Version) -> bool:
        """Return whether its engine answers; loading one takes too long to be waited for."""
        weights = self.weights(version)
        if weights is None or self._engines.waits_for(weights) is not None:
            return False
        return (await self._advance(version)).is_done

    async def reconcile(self, deployment: Deployment, versions: Sequence[Version]) -> Progress:
        """Merge, load and prove what is missing.

        Raises:
            TargetFailed: If it cannot be merged, or does not reproduce its adapter.
        """
        for version in versions:
            progress = await self._advance(version)
            if not progress.is_done:
                return progress
        return Progress(is_done=True)

    async def withdraw(self, deployment: Deployment) -> bool:
        """Return true: engines that nobody wants end by themselves."""
        return True

    def weights(self, version: Version) -> Weights | None:
        """Return the whole model; None while it is not merged yet."""
        return self._merging.weights(version)

    def client(self, deployment: Deployment, version: Version) -> Client | None:
        """Return none: engines of ours answer."""
        return None

    async def _advance(self, version: Version) -> Progress:
        weights = await self._merging.advance(version)
        if weights is None:
            return Progress(is_done=False, message="The adapter is merged into its base.")
        try:
            await self._engines.keep(weights)
            if version.is_adapter and weights.revision not in self._proved:
                await self._prove(version, weights)
        except (Unavailable, ResourceExhausted) as error:
            return Progress(is_done=False, message=error.message)
        except (EngineRefused, FailedPrecondition) as error:
            raise TargetFailed(f"The engine cannot hold it: {error}") from None
        return Progress(is_done=True)

    async def _prove(self, version: Version, weights: Weights) -> None:
        """Compare the merged model with what the trainer says that it answers."""
        try:
            lines = await asyncio.to_thread(read_parity, self._artefacts.merged(weights.revision))
        except Unservable as error:
            raise TargetFailed(str(error)) from None
        async with self._engines.hold(weights) as client:
            answers = await answer_all(client, weights.engine_model, lines)
        pairs = [(line.expected, answer) for line, answer in zip(lines, answers, strict=True)]
        found = compare(pairs, version.parity_tolerance)
        if not found.holds:
            raise TargetFailed(f"Merged, it does not answer as it should: {found.describe()}")
        self._proved.add(weights.revision)
