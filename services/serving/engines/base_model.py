"""The base model that the engine is started for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from services.common.artefacts import MANIFEST, Artefacts, read_manifest

REVISION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")


@dataclass(frozen=True)
class BaseModel:
    """A base model that is at hand."""

    id: str
    """Such as `attune/starter`."""
    revision: str
    """Exact revision; the name of its folder."""
    folder: Path


def find_base_model(artefacts: Artefacts, model_id: str, revision: str = "") -> BaseModel | None:
    """Return a revision that is complete and unchanged, or None if there is none.

    Reads every byte of the model; call it in a thread.

    Args:
        artefacts: Where models are.
        model_id: Which model.
        revision: Which revision; the one that was completed last when empty.
    """
    manifests = artefacts.model(model_id).glob(f"{revision or '*'}/{MANIFEST}")
    for manifest in sorted(manifests, key=lambda path: path.stat().st_mtime, reverse=True):
        folder = manifest.parent
        if REVISION.fullmatch(folder.name) and read_manifest(folder) is not None:
            return BaseModel(model_id, folder.name, folder)
    return None
