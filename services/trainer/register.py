"""REGISTER: the adapter with all that is needed to trust it, under the hash of its manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.common.artefacts import publish, staging_folder, write_manifest
from services.trainer.crash_points import CrashPoint, reach
from services.trainer.recipes.generation import Generator
from services.trainer.rows import Row, spread
from services.trainer.run_context import RunContext
from services.trainer.score import open_generator

HOLDOUT_PROMPTS = 8
TRAINING_PROMPTS = 4
PARITY_TOKENS_MAX = 48
"""Longest answer in the parity file."""
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def register(context: RunContext, chosen: Path, report: dict[str, Any]) -> dict[str, Any]:
    """Publish the chosen checkpoint's adapter.

    Args:
        context: The run.
        chosen: Folder of the checkpoint.
        report: Proto JSON of the evaluation.

    Returns:
        The adapter's hash and rank.
    """
    base, manifest = context.spec.base_model, context.manifest
    rank = context.stage.hyperparameters.lora.rank
    folder = staging_folder(context.artefacts.adapter(manifest.run_id))
    shutil.copyfile(chosen / WEIGHTS, folder / WEIGHTS)
    config = json.loads((chosen / CONFIG).read_text())
    # A path of this machine means nothing elsewhere, and would say more than it should.
    config |= {"base_model_name_or_path": base.id, "revision": base.revision}
    (folder / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True))
    reach(CrashPoint.REGISTER_COPIED)
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    (folder / "spec.json").write_bytes(context.spec.approval.canonical_spec)
    with (folder / "parity.jsonl").open("w") as file:
        for line in _parity(context, open_generator(context, chosen)):
            file.write(json.dumps(line) + "\n")
    facts: dict[str, str | int] = {
        "spec_hash": manifest.spec_hash,
        "run": manifest.run,
        "job": manifest.job,
        "stage_index": manifest.stage_index,
        "base_model": base.id,
        "base_model_revision": base.revision,
        "lora_rank": rank,
    }
    adapter_sha256 = write_manifest(folder, facts)
    reach(CrashPoint.REGISTER_SEALED)
    publish(folder, context.artefacts.adapter(adapter_sha256))
    reach(CrashPoint.REGISTER_PUBLISHED)
    return {"adapter_sha256": adapter_sha256, "lora_rank": rank}


def _parity(context: RunContext, generator: Generator) -> list[dict[str, Any]]:
    """Return what an engine must reproduce: prompts, token ids, greedy answers, probabilities."""
    rows = _chosen(context.split.holdout, HOLDOUT_PROMPTS)
    rows += _chosen(context.split.train, TRAINING_PROMPTS)
    limit = min(PARITY_TOKENS_MAX, context.spec.evaluation.max_answer_tokens)
    lines = []
    for index, row in enumerate(rows):
        prompt_ids = context.renderer.prompt(row.prompt)
        # One by one: padding of a batch may turn a near tie the other way.
        (answer_ids,) = generator.answer([prompt_ids], limit, lambda _: context.check())
        if not answer_ids:
            continue
        lines.append(
            {
                "messages": [
                    {"role": message["role"], "content": message["content"]}
                    for message in row.prompt
                ],
                "prompt_token_ids": prompt_ids,
                "answer_token_ids": answer_ids,
                "answer": context.renderer.text(answer_ids),
                "logprobs": generator.logprobs(prompt_ids, answer_ids),
            }
        )
        context.report(index + 1, len(rows))
    return lines


def _chosen(rows: Sequence[Row], count: int) -> list[Row]:
    return [rows[index] for index in spread(rows, count)]
