"""Whole models: tuned weights with all that a base model has, and put at hand as one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from services.common.artefacts import Artefacts, publish, staging_folder, write_manifest
from services.trainer.models.base_models import TAKEN

WEIGHTS = "*.safetensors"
OF_WEIGHTS = ("config.json", "generation_config.json", "model.safetensors.index.json")
"""Files that are the model's; what else a base model has is its tokenizer's."""
ID_DIGITS = 12
"""Of the hash, in the id of the base model."""


def copy_whole(model: Path, base: Path, target: Path) -> None:
    """Copy a model's weights and its base's tokenizer; nothing else, and nothing that holds code.

    Args:
        model: Folder with the weights.
        base: Folder of the base model, whose tokenizer and template were trained with.
        target: Where they go.
    """
    for path in [*sorted(model.glob(WEIGHTS)), *(model / name for name in OF_WEIGHTS)]:
        if path.is_file():
            shutil.copyfile(path, target / path.name)
    copy_tokenizer(base, target)


def copy_tokenizer(base: Path, target: Path) -> None:
    """Copy what a base model has besides its weights: tokenizer and template."""
    for name in TAKEN:
        if name not in OF_WEIGHTS and (base / name).is_file():
            shutil.copyfile(base / name, target / name)


def whole_model_id(merged_sha256: str) -> str:
    """Return the id under which a whole model is at hand as a base, such as `merged/1a2b3c4d5e6f`.

    Args:
        merged_sha256: Hash of its manifest; also its revision.
    """
    return f"merged/{merged_sha256[:ID_DIGITS]}"


def put_at_hand(artefacts: Artefacts, merged_sha256: str, licence: str) -> str:
    """Make a published whole model a base that plans may name, and return its id.

    Its files are links to the published ones and take no room of their own. Done twice, it is as
    if done once.

    Args:
        artefacts: Where both are.
        merged_sha256: Hash of its manifest.
        licence: Of the base that it came from.
    """
    model_id = whole_model_id(merged_sha256)
    target = artefacts.model(model_id) / merged_sha256
    if not target.exists():
        staged = staging_folder(target)
        for path in sorted(artefacts.merged(merged_sha256).iterdir()):
            if path.name in TAKEN or path.match(WEIGHTS):
                _link(path, staged / path.name)
        write_manifest(staged, {"id": model_id, "licence": licence, "merged_sha256": merged_sha256})
        publish(staged, target)
    return model_id


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # Not every file system has links.
        shutil.copyfile(source, target)
