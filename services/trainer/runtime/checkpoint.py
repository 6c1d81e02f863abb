"""Checkpoints that are whole or not there, and the choice of the one to go on from."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.common.artefacts import publish, read_manifest, staging_folder, write_manifest
from services.trainer.attempt import list_attempts
from services.trainer.runtime.crash_points import CrashPoint, reach

KEPT_MIN = 2
"""Newest checkpoints that are kept; the best one is kept besides."""


@dataclass(frozen=True)
class Origin:
    """What a checkpoint belongs to; one of another origin is never loaded."""

    spec_hash: str
    base_revision: str
    stage_index: int


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint."""

    folder: Path
    step: int
    """Optimizer steps done."""
    fence: int
    """Of the attempt that wrote it."""
    eval_loss: float
    """On the validation rows, in nats per token; infinite when not evaluated."""


@dataclass(frozen=True)
class Refused:
    """A folder among the checkpoints that is not gone on from."""

    folder: Path
    why: str
    """What is wrong with it, such as `is broken`."""


def save(
    trainer_folder: Path,
    checkpoints: Path,
    origin: Origin,
    *,
    step: int,
    fence: int,
    eval_loss: float,
) -> Checkpoint:
    """Move a folder that the trainer library wrote among the checkpoints, atomically.

    Args:
        trainer_folder: On the same file system as `checkpoints`; gone afterwards.
        checkpoints: Folder of the attempt's checkpoints.
        origin: What it belongs to.
        step: Optimizer steps done.
        fence: Of the attempt.
        eval_loss: On the validation rows, in nats per token.
    """
    target = checkpoints / f"step-{step:08d}"
    staged = staging_folder(target)
    staged.rmdir()
    reach(CrashPoint.CHECKPOINT_TAKEN)
    trainer_folder.rename(staged)
    reach(CrashPoint.CHECKPOINT_STAGED)
    facts: dict[str, str | int] = {
        "spec_hash": origin.spec_hash,
        "base_revision": origin.base_revision,
        "stage_index": origin.stage_index,
        "step": step,
        "fence": fence,
        "eval_loss": repr(eval_loss),
    }
    write_manifest(staged, facts)
    reach(CrashPoint.CHECKPOINT_SEALED)
    publish(staged, target)
    reach(CrashPoint.CHECKPOINT_RENAMED)
    return Checkpoint(target, step, fence, eval_loss)


def prune(saved: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Delete all but the two newest and the best, and return those that stay, oldest first."""
    ordered = sorted(saved, key=lambda checkpoint: checkpoint.step)
    kept = {*ordered[-KEPT_MIN:], *([best(ordered)] if ordered else [])}
    for checkpoint in ordered:
        if checkpoint not in kept:
            shutil.rmtree(checkpoint.folder)
    return [checkpoint for checkpoint in ordered if checkpoint in kept]


def best(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Return the one with the least loss on the validation rows; the earliest of equal ones."""
    return min(checkpoints, key=lambda checkpoint: (checkpoint.eval_loss, checkpoint.step))


def find_checkpoints(
    run_folder: Path, origin: Origin, fence_max: int
) -> tuple[list[Checkpoint], list[Refused]]:
    """Return a run's verified checkpoints, newest first, and the folders that are refused.

    Args:
        run_folder: Folder of all attempts of the run.
        origin: What they must belong to.
        fence_max: Those of newer attempts are left alone.
    """
    found, refused = [], []
    for attempt in list_attempts(run_folder, fence_max):
        for folder in sorted(attempt.checkpoints.glob("step-*")):
            facts = read_manifest(folder)
            why = _objection(facts, origin, attempt.fence)
            if facts is None or why:
                refused.append(Refused(folder, why))
                continue
            eval_loss = float(facts.get("eval_loss", math.inf))
            found.append(Checkpoint(folder, int(facts["step"]), attempt.fence, eval_loss))
    found.sort(key=lambda checkpoint: (checkpoint.step, checkpoint.fence), reverse=True)
    return found, refused


def _objection(facts: dict[str, str | int] | None, origin: Origin, fence: int) -> str:
    """Return why a folder must not be gone on from; empty when it may."""
    if facts is None:
        return "is broken"
    try:
        written = Origin(
            str(facts["spec_hash"]), str(facts["base_revision"]), int(facts["stage_index"])
        )
        other_fence = int(facts["fence"])
        int(facts["step"])
    except (KeyError, ValueError):
        return "does not say what it belongs to"
    if written.spec_hash != origin.spec_hash:
        return "belongs to another spec"
    if written.base_revision != origin.base_revision:
        return "belongs to another base model"
    if written.stage_index != origin.stage_index:
        return "belongs to another stage"
    if other_fence != fence:
        return f"was written by attempt {other_fence}, not by the one in whose folder it lies"
    return ""
