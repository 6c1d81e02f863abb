"""Where artefacts lie under the one root, and how they are written so that a crash leaves no half.

`datasets/<sha256>/original` a file as uploaded, beside it `rows.jsonl`, its rows as they are
read · `models/<id>/<revision>/` base models · `runs/<run>/attempt-<fence>/` what a run writes ·
`adapters/<sha256>/` and `merged/<sha256>/` results: adapters and whole models · `exports/<id>/`
versions as folders that run without Attune. Every path is made here, from hashes and ids of our
own, never from text that a user chose.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

MANIFEST = "MANIFEST.json"
CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Artefacts:
    """The artefact root; a folder."""

    root: Path

    def dataset(self, dataset_sha256: str) -> Path:
        """Return the rows of a dataset, one JSON object per line; there once it is found valid.

        They are the uploaded bytes where those are such rows. Where they are not, a manifest ties
        the rows to the upload's hash.
        """
        return self.root / "datasets" / dataset_sha256 / "rows.jsonl"

    def original(self, dataset_sha256: str) -> Path:
        """Return the file of a dataset as it was uploaded; its hash is the dataset's."""
        return self.root / "datasets" / dataset_sha256 / "original"

    def model(self, model_id: str) -> Path:
        """Return the folder of all revisions of a base model, such as `attune/starter`."""
        return self.root / "models" / model_id.replace("/", "--")

    def run(self, run_id: str) -> Path:
        """Return the folder of all attempts of a run."""
        return self.root / "runs" / run_id

    def attempt(self, run_id: str, fence: int) -> Path:
        """Return the folder that only this attempt writes."""
        return self.run(run_id) / f"attempt-{fence:06d}"

    def adapter(self, adapter_sha256: str) -> Path:
        """Return the folder of a finished adapter."""
        return self.root / "adapters" / adapter_sha256

    def merged(self, merged_sha256: str) -> Path:
        """Return the folder of a finished whole model."""
        return self.root / "merged" / merged_sha256

    def export(self, version_id: str) -> Path:
        """Return the folder of a version that was exported."""
        return self.root / "exports" / version_id


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 lower-case hex digits."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_manifest(folder: Path, facts: dict[str, str | int]) -> str:
    """Write sizes and hashes of a folder's files, last of all, and return the manifest's hash.

    Args:
        folder: Holds everything else already, in one level.
        facts: What else the manifest is to say, such as the spec hash and the fence.

    Returns:
        SHA-256 of the manifest: the same facts and bytes give the same hash.
    """
    files = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != MANIFEST:
            sync(path)
            files[path.name] = {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)}
    text = json.dumps({"facts": facts, "files": files}, sort_keys=True, indent=1)
    manifest = folder / MANIFEST
    manifest.write_text(text)
    sync(manifest)
    sync(folder)
    return sha256(text.encode()).hexdigest()


def read_manifest(folder: Path) -> dict[str, str | int] | None:
    """Return the facts of a folder that is complete and unchanged, or None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        for name, expected in manifest["files"].items():
            path = folder / name
            if path.stat().st_size != expected["size_bytes"]:
                return None
            if file_sha256(path) != expected["sha256"]:
                return None
        facts: dict[str, str | int] = manifest["facts"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return facts


def staging_folder(target: Path) -> Path:
    """Return a new empty folder beside the target, to be handed to `publish`."""
    folder = target.parent / f".{target.name}.{uuid4().hex[:8]}.tmp"
    folder.mkdir(parents=True)
    return folder


def publish(staged: Path, target: Path) -> None:
    """Rename a finished folder into place; when the same target exists already, that one stays."""
    try:
        staged.rename(target)
    except OSError:
        if not target.exists():
            raise
        shutil.rmtree(staged)
    sync(target.parent)
