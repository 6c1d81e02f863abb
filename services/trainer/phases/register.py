"""REGISTER: what was trained, with all that is needed to trust it, under its manifest's hash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attune.spec.v1.stage_pb2 import Method

from services.common.artefacts import publish, staging_folder, write_manifest
from services.trainer.data.rows import Row, spread
from services.trainer.evaluation.answers import open_served
from services.trainer.models.parity import parity_line, write_parity
from services.trainer.models.safe_files import check_safe
from services.trainer.models.whole_model import copy_whole, put_at_hand
from services.trainer.phases.model_card import describe
from services.trainer.recipes import METHODS
from services.trainer.recipes.generation import Generator
from services.trainer.runtime.crash_points import CrashPoint, reach
from services.trainer.runtime.run_context import RunContext

HOLDOUT_PROMPTS = 8
TRAINING_PROMPTS = 4
PARITY_TOKENS_MAX = 48
"""Longest answer in the parity file."""
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def register(context: RunContext, chosen: Path, tuned: dict[str, Any]) -> dict[str, Any]:
    """Publish the chosen checkpoint: its adapter, or the whole model where all weights learnt.

    Args:
        context: The run.
        chosen: Folder of the checkpoint.
        tuned: What EVALUATE returned.

    Returns:
        Its hash as `adapter_sha256` with the rank, or as `merged_sha256`.
    """
    base, manifest = context.spec.base_model, context.manifest
    method = context.stage.method
    is_adapter = METHODS[method].is_adapter
    place = context.artefacts.adapter if is_adapter else context.artefacts.merged
    for left in place(manifest.run_id).parent.glob(f".{manifest.run_id}.*.tmp"):
        shutil.rmtree(left)  # Of an attempt that was killed here.
    folder = staging_folder(place(manifest.run_id))
    if is_adapter:
        _copy_adapter(context, chosen, folder)
    else:
        copy_whole(chosen, context.model_folder, folder)
    reach(CrashPoint.REGISTER_COPIED)
    (folder / "report.json").write_text(json.dumps(tuned["report"], indent=1))
    (folder / "spec.json").write_bytes(context.spec.approval.canonical_spec)
    write_parity(folder, _parity(context, open_served(context, chosen)))
    describe(context, folder, tuned)
    check_safe(folder)
    facts: dict[str, str | int] = {
        "spec_hash": manifest.spec_hash,
        "run": manifest.run,
        "job": manifest.job,
        "stage_index": manifest.stage_index,
        "base_model": base.id,
        "base_model_revision": base.revision,
        "method": Method.Name(method),
        "dataset_sha256": context.spec.data.dataset_sha256,
        "licence": base.licence,
    }
    rank = context.stage.hyperparameters.lora.rank
    if is_adapter:
        facts |= {"lora_rank": rank, "merged_only": METHODS[method].merged_only}
    if manifest.base_adapter_sha256:
        facts["base_adapter_sha256"] = manifest.base_adapter_sha256
    digest = write_manifest(folder, facts)
    reach(CrashPoint.REGISTER_SEALED)
    publish(folder, place(digest))
    reach(CrashPoint.REGISTER_PUBLISHED)
    if is_adapter:
        return {"adapter_sha256": digest, "lora_rank": rank}
    model_id = put_at_hand(context.artefacts, digest, base.licence)
    context.attempt.say(f"The whole model is at hand as the base model {model_id}.")
    return {"merged_sha256": digest, "base_model": model_id}


def _copy_adapter(context: RunContext, chosen: Path, folder: Path) -> None:
    base = context.spec.base_model
    shutil.copyfile(chosen / WEIGHTS, folder / WEIGHTS)
    config = json.loads((chosen / CONFIG).read_text())
    # A path of this machine means nothing elsewhere, and would say more than it should.
    config |= {"base_model_name_or_path": base.id, "revision": base.revision}
    (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True))


def _parity(context: RunContext, generator: Generator) -> list[dict[str, Any]]:
    """Return what an engine must reproduce: prompts, token ids, greedy answers, probabilities."""
    rows = _chosen(context.split.holdout, HOLDOUT_PROMPTS)
    rows += _chosen(context.split.train, TRAINING_PROMPTS)
    limit = min(PARITY_TOKENS_MAX, context.spec.evaluation.max_answer_tokens)
    lines = []
    for index, row in enumerate(rows):
        line = parity_line(generator, context.renderer, row.prompt, limit, context.check)
        if line is not None:
            lines.append(line)
        context.report(index + 1, len(rows))
    return lines


def _chosen(rows: Sequence[Row], count: int) -> list[Row]:
    return [rows[index] for index in spread(rows, count)]
