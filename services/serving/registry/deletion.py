"""Takes versions that nothing needs out of use for ever, and their weights off the disk."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from os import stat_result
from pathlib import Path

from services.common.artefacts import MANIFEST, Artefacts
from services.common.errors import FailedPrecondition
from services.serving.deployments.deployment import Deployment
from services.serving.peers import Scheduler
from services.serving.registry.version import Version, VersionState, whole_weights
from services.serving.registry.version_store import VersionStore

log = logging.getLogger(__name__)

WEIGHTS = "*.safetensors"
NAMED_MAX = 5
"""Versions or jobs that a refusal names."""
MERGED_MAX = 10_000
"""Whole models that are looked through for those made of an adapter."""


@dataclass(frozen=True)
class Freed:
    """What became of a deleted version's files."""

    size_bytes: int
    kept: tuple[str, ...]
    """What stays and why, one sentence each."""


class Deletions:
    """Deletes versions."""

    def __init__(
        self,
        versions: VersionStore,
        scheduler: Scheduler,
        artefacts: Artefacts,
    ) -> None:
        """Keep who may need a version, and where its files are."""
        self._versions = versions
        self._scheduler = scheduler
        self._artefacts = artefacts

    async def delete(self, name: str) -> Freed:
        """Delete a version; of one that is deleted, free what an interrupted call left.

        Raises:
            NotFound: If there is no such version.
            FailedPrecondition: If something needs it.
            Unavailable: If jobs may be training on it and the scheduler does not answer.
            Conflict: If somebody else deletes it at this very moment.
        """
        version = await self._versions.get(name)
        if version.state is not VersionState.DELETED:
            await self._check_children(version)

            def check(deployments: list[Deployment]) -> None:
                _check_deployments(name, deployments)

            version = await self._versions.delete(version, check)
            log.info("deleted %s", name)
        sharing = await self._versions.list_sharing(version)
        return await asyncio.to_thread(_free, self._artefacts, version, sharing)

    async def _check_children(self, version: Version) -> None:
        """Refuse a version whose whole model is the base of something."""
        if not version.merged_sha256:
            return
        children = await self._versions.list_made_from(version.merged_sha256)
        users = [one.name for one in children]
        async for jobs in self._scheduler.list_unfinished_jobs():
            users += [one.name for one in jobs if one.base_model.revision == version.merged_sha256]
        if users:
            raise _in_use(
                version.name,
                f"the base of {_named(users)}",
                "Delete these versions first; wait for the end of these jobs, or cancel them.",
            )


def _check_deployments(name: str, deployments: Sequence[Deployment]) -> None:
    """Refuse a version that a deployment needs."""
    for one in deployments:
        if name not in one.needed_versions:
            continue
        if name != one.previous_model_version or name in one.decided.model_versions:
            raise _in_use(
                name, f"deployed as {one.name}", "Point it at another version, or delete it."
            )
        raise _in_use(
            name,
            f"the way back of {one.name}",
            "Point that at a third version, which gives it another way back, or delete it.",
        )


def _in_use(name: str, what: str, remedy: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{name} is in use: it is {what}. {remedy}",
        reason="VERSION_IN_USE",
        model_version=name,
        use=what,
    )


def _named(users: Sequence[str]) -> str:
    more = f" and {len(users) - NAMED_MAX} more" if len(users) > NAMED_MAX else ""
    return ", ".join(users[:NAMED_MAX]) + more


def _free(artefacts: Artefacts, version: Version, sharing: Sequence[Version]) -> Freed:
    """Remove the weights that no other version has; small files, which say whence it came, stay."""
    kept, gone = [], Counter[tuple[int, int]]()
    facts: dict[tuple[int, int], stat_result] = {}

    def remove(paths: Sequence[Path]) -> None:
        for path in paths:
            found = path.stat()
            key = (found.st_dev, found.st_ino)
            facts.setdefault(key, found)
            gone[key] += 1
            path.unlink()

    if version.adapter_sha256:
        users = [one for one in sharing if one.adapter_sha256 == version.adapter_sha256]
        if users:
            kept.append(f"The adapter stays: {users[0].name} is the same one.")
        else:
            remove(sorted(artefacts.adapter(version.adapter_sha256).glob(WEIGHTS)))
    if version.merged_sha256 and sharing:
        kept.append(f"The whole model stays: {sharing[0].name} has the same weights.")
    elif version.merged_sha256:
        base = whole_weights(version.merged_sha256)
        at_hand = artefacts.model(base.model_id) / base.revision
        if at_hand.is_dir():
            # Under another name first: a base is there whole or not at all.
            leaving = at_hand.with_name(f".{at_hand.name}.deleted")
            at_hand.rename(leaving)
        for left in at_hand.parent.glob(".*.deleted"):
            remove([path for path in sorted(left.iterdir()) if path.is_file()])
            shutil.rmtree(left)
        remove(sorted(artefacts.merged(version.merged_sha256).glob(WEIGHTS)))
    for model_id in [] if version.merged_sha256 else _made_of(artefacts, version.adapter_sha256):
        kept.append(f"The base model {model_id} stays: somebody made it of this version for plans.")
    export = artefacts.export(version.id)
    if export.exists():
        kept.append(f"Its export stays: {export}. Remove that folder when nobody needs it.")
    # What has another link, such as from an export, takes its room as before.
    size = sum(one.st_size for key, one in facts.items() if gone[key] >= one.st_nlink)
    return Freed(size, tuple(kept))


def _made_of(artefacts: Artefacts, adapter_sha256: str) -> list[str]:
    """Return the ids of the base models that an adapter was merged into outside of the registry."""
    found = []
    for manifest in islice(artefacts.merged("").glob(f"*/{MANIFEST}"), MERGED_MAX):
        try:
            facts = json.loads(manifest.read_text())["facts"]
        except (OSError, ValueError, KeyError):
            continue
        if facts.get("adapter_sha256") == adapter_sha256:
            found.append(whole_weights(manifest.parent.name).model_id)
    return found
