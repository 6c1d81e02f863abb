"""Writes versions as folders that run without Attune."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.artefacts import (
    MANIFEST,
    Artefacts,
    publish,
    read_manifest,
    staging_folder,
    write_manifest,
)
from services.common.errors import FailedPrecondition, ResourceExhausted
from services.serving.engines.base_model import find_base_model
from services.serving.peers import Trainer
from services.serving.registry import export_files
from services.serving.registry.export_files import Served
from services.serving.registry.version import Version, check_ready, whole_weights
from services.serving.registry.version_store import VersionStore

WEIGHTS = ".safetensors"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
CARD, LINEAGE, LICENCE, COMMAND = "README.md", "lineage.json", "LICENCE", "command.txt"
COMPOSE = "compose.yml"
PARTS = ("adapter", "base", "model")
"""Folders of an export; it has one or two of them."""
COMMIT = re.compile(r"[0-9a-f]{40}")
"""Revision of a model that the hub has; others are hashes of files, and longer."""


@dataclass(frozen=True)
class Exported:
    """A version as a folder."""

    folder: Path
    command: str
    """Serves it, run in that folder."""
    size_bytes: int


class VersionExports:
    """VersionExports versions."""

    def __init__(self, versions: VersionStore, trainer: Trainer, artefacts: Artefacts) -> None:
        """Keep where versions and files are, and who merges."""
        self._versions = versions
        self._trainer = trainer
        self._artefacts = artefacts

    async def export(self, name: str) -> Exported:
        """Write the folder of a READY version, unless it is there whole.

        An adapter is written beside the reference to its base, or beside the base itself where no
        hub has it; what an engine cannot hold as an adapter is written as a whole model.

        Raises:
            NotFound: If there is no such version, or it was deleted.
            FailedPrecondition: If it is not READY, or its files are not those of its manifest.
            ResourceExhausted: If there is no room on the disk.
            Unavailable: If it must be merged again and the trainer does not answer.
        """
        version = await self._versions.get(name)
        check_ready(version)
        if not version.is_adapter and version.adapter_sha256:
            await self._restore(version)
        return await asyncio.to_thread(_write, self._artefacts, version)

    async def _restore(self, version: Version) -> None:
        """Let the trainer merge an adapter again whose whole model somebody took away."""
        weights = whole_weights(version.merged_sha256)
        found = await asyncio.to_thread(
            find_base_model, self._artefacts, weights.model_id, weights.revision
        )
        if found is None:
            await self._trainer.merge(version.adapter_sha256)


def _write(artefacts: Artefacts, version: Version) -> Exported:
    target = artefacts.export(version.id)
    if not _is_whole(target):
        if target.exists():
            shutil.rmtree(target)
        staged = staging_folder(target)
        try:
            _fill(staged, artefacts, version)
            publish(staged, target)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise ResourceExhausted(
                f"The disk of {target.parent} is full. Make room and repeat.",
                reason="DISK_FULL",
                folder=str(target.parent),
            ) from None
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    sizes = [path.stat().st_size for path in target.rglob("*") if path.is_file()]
    return Exported(target, (target / COMMAND).read_text().strip(), sum(sizes))


def _is_whole(folder: Path) -> bool:
    parts = [folder / part for part in PARTS if (folder / part).exists()]
    return bool(parts) and all(read_manifest(one) is not None for one in (folder, *parts))


def _fill(staged: Path, artefacts: Artefacts, version: Version) -> None:
    """Write weights, then what is said of them, then the manifest.

    Raises:
        FailedPrecondition: If files of the version or its base are not those of their manifest.
        OSError: If the disk is full.
    """
    adapter = artefacts.adapter(version.adapter_sha256) if version.adapter_sha256 else None
    source = adapter or artefacts.merged(version.merged_sha256)
    facts = read_manifest(source)
    if facts is None:
        raise _broken(version, source)
    engine_model = version.weights
    model = find_base_model(artefacts, engine_model.model_id, engine_model.revision)
    if model is None:
        raise _broken(version, artefacts.model(engine_model.model_id) / engine_model.revision)
    alias = version.name.split("/")[3]
    dtype = _dtype(model.folder)
    if not version.is_adapter:
        _take(model.folder, staged / "model")
        served = Served("./model", alias, dtype)
    else:
        assert adapter is not None
        _take(adapter, staged / "adapter", ADAPTER_FILES)
        is_of_hub = COMMIT.fullmatch(model.revision) is not None
        if not is_of_hub:
            _take(model.folder, staged / "base")
        served = Served(
            model=model.id if is_of_hub else "./base",
            model_name=alias,
            dtype=dtype,
            hub_revision=model.revision if is_of_hub else "",
            base_name=model.id,
            lora_rank=_rank(adapter),
        )
    lineage = source / LINEAGE
    if lineage.is_file():
        shutil.copyfile(lineage, staged / LINEAGE)
    written = (source / CARD).read_text() if (source / CARD).is_file() else ""
    texts = {
        CARD: export_files.card(version, written, _read_json(lineage), served),
        LICENCE: export_files.licence(version, str(facts.get("licence", ""))),
        COMMAND: served.command + "\n",
        COMPOSE: export_files.compose(served),
    }
    for name, text in texts.items():
        (staged / name).write_text(text, encoding="utf-8")
    digest = version.adapter_sha256 or version.merged_sha256
    write_manifest(staged, {"version": version.name, "exported_sha256": digest})


def _take(source: Path, target: Path, names: tuple[str, ...] = ()) -> None:
    """Write a folder of the export: weights as links where the disk has them, the rest as copies.

    Args:
        source: Where the files are.
        target: Does not exist yet.
        names: Which files; all when empty.
    """
    target.mkdir()
    for path in sorted(source.iterdir()):
        if not path.is_file() or path.name == MANIFEST or (names and path.name not in names):
            continue
        if path.suffix == WEIGHTS:
            _link(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)
    write_manifest(target, {})


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # Not every file system has links.
        shutil.copyfile(source, target)


def _dtype(model: Path) -> str:
    config = _read_json(model / "config.json")
    return str(config.get("dtype") or config.get("torch_dtype") or "auto")


def _rank(adapter: Path) -> int:
    config = _read_json(adapter / "adapter_config.json")
    ranks = [config["r"], *(config.get("rank_pattern") or {}).values()]
    return max(int(rank) for rank in ranks)


def _read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; nothing when there is none."""
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _broken(version: Version, folder: Path) -> FailedPrecondition:
    return FailedPrecondition(
        f"{version.name} cannot be exported: the files of {folder} are gone, or not those of their "
        "manifest. Restore them, or train again.",
        reason="FILES_BROKEN",
        model_version=version.name,
        folder=str(folder),
    )
