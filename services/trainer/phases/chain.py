"""A stage after another one, and the adapter that it begins with."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from attune.spec.v1.stage_pb2 import Method, Stage

from services.common.artefacts import MANIFEST, read_manifest
from services.trainer.recipes import METHODS
from services.trainer.run import RunFailed
from services.trainer.runtime.run_context import RunContext


def check_chain(context: RunContext) -> None:
    """Refuse a later stage that cannot go on training the adapter of the one before.

    Raises:
        RunFailed: If the stages' adapters differ in shape, or the adapter is not here whole.
    """
    index = context.manifest.stage_index
    if index == 0:
        return
    difference = adapter_difference(context.spec.stages[index - 1], context.stage)
    if difference:
        raise RunFailed(
            "CHAIN_MISMATCH",
            f"Stage {index + 1} goes on training the adapter of stage {index}, but {difference}. "
            "Give all stages the same method, rank, alpha and target modules.",
        )
    folder = context.base_adapter
    if folder is None:
        raise RunFailed(
            "NO_BASE_ADAPTER",
            f"Stage {index + 1} goes on training the adapter of stage {index}, and the lease names "
            "none. Approve the spec again, so that it begins with its first stage.",
        )
    facts = read_manifest(folder)
    if facts is None or _hash_of(folder) != folder.name:
        raise RunFailed(
            "BASE_ADAPTER_BROKEN",
            f"The adapter {folder.name[:12]} of stage {index} is not whole under "
            f"{context.artefacts.root}. Bring it back from a copy, or approve the spec again.",
        )
    if facts.get("base_model_revision") != context.spec.base_model.revision:
        raise RunFailed(
            "BASE_ADAPTER_FOREIGN",
            f"The adapter {folder.name[:12]} belongs to another revision of the base model than "
            f"{context.spec.base_model.revision[:12]}. Approve the spec again.",
        )


def adapter_difference(before: Stage, stage: Stage) -> str:
    """Return in what the adapter of a stage differs from the one before; empty if in nothing."""
    if before.method != stage.method:
        return f"its method is {Method.Name(stage.method)}, not {Method.Name(before.method)}"
    if not METHODS[stage.method].is_adapter:
        return f"{Method.Name(stage.method)} makes none"
    old, new = before.hyperparameters.lora, stage.hyperparameters.lora
    for field in new.DESCRIPTOR.fields:
        name = field.name
        if name == "dropout":  # Of training only; no weight depends on it.
            continue
        one, other = getattr(old, name), getattr(new, name)
        if name == "target_modules":
            one, other = sorted(one), sorted(other)
        if one != other:
            return f"its lora.{name} is {other}, not {one}"
    return ""


def _hash_of(folder: Path) -> str:
    return sha256((folder / MANIFEST).read_bytes()).hexdigest()
