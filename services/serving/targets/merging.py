"""Adapters made whole models, for targets that hold nothing else."""

from __future__ import annotations

import asyncio

from services.common.errors import FailedPrecondition, InvalidArgument, NotFound
from services.serving.engines.weights import Weights
from services.serving.peers import Trainer
from services.serving.registry.version import Version, whole_weights
from services.serving.registry.version_store import VersionStore
from services.serving.targets.target import TargetFailed


class Merging:
    """Lets the trainer merge, without waiting for it: a large model takes minutes."""

    def __init__(self, trainer: Trainer, versions: VersionStore) -> None:
        """Keep who merges, and the registry, which keeps what came of it."""
        self._trainer = trainer
        self._versions = versions
        self._tasks: dict[str, asyncio.Task[str]] = {}
        """Merges under way, by the hash of the adapter."""

    def weights(self, version: Version) -> Weights | None:
        """Return the whole model of a version; None while it is not merged."""
        return whole_weights(version.merged_sha256) if version.merged_sha256 else None

    async def advance(self, version: Version) -> Weights | None:
        """Return the whole model of a version once it is made; None while it is being made.

        Raises:
            TargetFailed: If it cannot be made.
            ServiceError: If the trainer is away.
        """
        if (weights := self.weights(version)) is not None:
            return weights
        adapter = version.adapter_sha256
        if adapter not in self._tasks:
            self._tasks[adapter] = asyncio.create_task(self._trainer.merge(adapter))
        if not self._tasks[adapter].done():
            return None
        try:
            merged_sha256 = self._tasks.pop(adapter).result()
        except (NotFound, FailedPrecondition, InvalidArgument) as error:
            raise TargetFailed(f"It cannot be merged into its base: {error.message}") from None
        await self._versions.note_merged(version, merged_sha256)
        return whole_weights(merged_sha256)
