"""A registered adapter made a whole model of its own; runs in a process of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from services.common.artefacts import (
    Artefacts,
    publish,
    read_manifest,
    staging_folder,
    write_manifest,
)
from services.common.errors import FailedPrecondition, NotFound
from services.trainer.data.render import renderer
from services.trainer.models.parity import PARITY, parity_line, write_parity
from services.trainer.models.whole_model import copy_tokenizer, put_at_hand
from services.trainer.recipes.generation import Loading, load_generator
from services.trainer.recipes.merging import merge

MERGED_MAX = 10_000
"""Merged models that are looked through for one of an adapter."""
SPARE_BYTES = 64 * 1024 * 1024
"""Room on the disk that stays free beside the weights."""
LINES_MAX = 1000
"""Lines of a parity file that are made anew."""
CARRIED = ("report.json", "spec.json")
"""Files of the adapter that say where the model comes from."""
FACTS = ("spec_hash", "run", "job", "stage_index", "base_model", "base_model_revision")
"""Facts of the adapter's manifest that hold for the model too."""


def merge_adapter(root: Path, adapter_sha256: str) -> dict[str, str]:
    """Merge an adapter into its base, publish the model and put it at hand as a base.

    Done twice, the second time finds what the first one made.

    Args:
        root: The artefact root.
        adapter_sha256: Hash of the adapter's manifest.

    Returns:
        `merged_sha256`, and `base_model` and `base_model_revision` under which it is at hand.

    Raises:
        NotFound: If there is no such adapter, or its base is not at hand.
        FailedPrecondition: If its files are not those of its manifest, or it cannot be merged.
    """
    artefacts = Artefacts(root)
    adapter = artefacts.adapter(adapter_sha256)
    facts = _facts_of(adapter)
    base = artefacts.model(str(facts["base_model"])) / str(facts["base_model_revision"])
    base_facts = read_manifest(base)
    if base_facts is None:
        raise NotFound(
            f"Revision {base.name[:12]} of {facts['base_model']}, which the adapter belongs to, is "
            "not at hand or not whole. Put it there again.",
            reason="BASE_MODEL_NOT_AT_HAND",
            base_model=str(facts["base_model"]),
        )
    licence = str(base_facts.get("licence", ""))
    merged_sha256 = find_merged(artefacts, adapter_sha256) or _merge(
        artefacts, base, adapter, facts, licence
    )
    return {
        "merged_sha256": merged_sha256,
        "base_model": put_at_hand(artefacts, merged_sha256, licence),
        "base_model_revision": merged_sha256,
    }


def find_merged(artefacts: Artefacts, adapter_sha256: str) -> str:
    """Return the hash of the whole model that was made of an adapter; empty without one."""
    for number, folder in enumerate(artefacts.merged("").glob("*")):
        if number >= MERGED_MAX:
            break
        try:
            facts = json.loads((folder / "MANIFEST.json").read_text())["facts"]
        except (OSError, ValueError, KeyError):
            continue
        if facts.get("adapter_sha256") == adapter_sha256 and read_manifest(folder) is not None:
            return folder.name
    return ""


def _facts_of(adapter: Path) -> dict[str, str | int]:
    if not adapter.is_dir():
        raise NotFound(
            f"There is no adapter {adapter.name[:12]} under the artefact root. "
            "`attune model list` shows the versions and their adapters.",
            reason="ADAPTER_NOT_FOUND",
            adapter_sha256=adapter.name,
        )
    facts = read_manifest(adapter)
    if facts is None:
        raise FailedPrecondition(
            f"The files of adapter {adapter.name[:12]} are not those of its manifest. Restore them "
            "or train again.",
            reason="ADAPTER_BROKEN",
            adapter_sha256=adapter.name,
        )
    return facts


def _merge(
    artefacts: Artefacts,
    base: Path,
    adapter: Path,
    facts: dict[str, str | int],
    licence: str,
) -> str:
    folder = staging_folder(artefacts.merged(adapter.name))
    try:
        _check_disk(base, folder)
        merge(base, adapter, folder)
        copy_tokenizer(base, folder)
        write_parity(folder, _parity(base, folder, adapter))
        for name in CARRIED:
            if (adapter / name).is_file():
                shutil.copyfile(adapter / name, folder / name)
        own: dict[str, str | int] = {name: facts[name] for name in FACTS if name in facts}
        own |= {"adapter_sha256": adapter.name, "licence": licence}
        merged_sha256 = write_manifest(folder, own)
        publish(folder, artefacts.merged(merged_sha256))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return merged_sha256


def _check_disk(base: Path, folder: Path) -> None:
    needed = SPARE_BYTES + sum(path.stat().st_size for path in base.glob("*.safetensors"))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FailedPrecondition(
            f"{free / 2**20:,.0f} MiB are free under {folder.parent}, and the merged model takes "
            f"{needed / 2**20:,.0f} MiB. Make room.",
            reason="DISK_FULL",
            free_bytes=str(free),
            needed_bytes=str(needed),
        )


def _parity(base: Path, folder: Path, adapter: Path) -> list[dict[str, Any]]:
    """Return the adapter's parity lines as the merged model answers them, rounding included."""
    own = renderer(base)
    generator = load_generator(folder, None, own.tokenizer, Loading(use_cuda=False))
    lines = []
    for text in (adapter / PARITY).read_text().splitlines()[:LINES_MAX]:
        before = json.loads(text)
        length = len(before["answer_token_ids"])
        line = parity_line(generator, own, before["messages"], length, lambda: None)
        if line is not None:
            lines.append(line)
    return lines
