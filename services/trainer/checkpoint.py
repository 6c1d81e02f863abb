"""Checkpoints that are whole or not there, and the choice of the one to go on from."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.common.artefacts import publish, read_manifest, staging_folder, write_manifest
from services.trainer.attempt import list_attempts

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
    trainer_folder.rename(staged)
    facts: dict[str, str | int] = {
        "spec_hash": origin.spec_hash,
        "base_revision": origin.base_revision,
        "stage_index": origin.stage_index,
        "step": step,
        "fence": fence,
        "eval_loss": repr(eval_loss),
    }
    write_manifest(staged, facts)
    publish(staged, target)
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
) -> tuple[list[Checkpoint], list[Path]]:
    """Return a run's verified checkpoints, newest first, and the folders that are broken.

    Args:
        run_folder: Folder of all attempts of the run.
        origin: What they must belong to; others are passed over.
        fence_max: Those of newer attempts are left alone.
    """
    found, broken = [], []
    for attempt in list_attempts(run_folder, fence_max):
        for folder in attempt.checkpoints.glob("step-*"):
            facts = read_manifest(folder)
            if facts is None:
                broken.append(folder)
            elif _origin_of(facts) == origin:
                eval_loss = float(facts.get("eval_loss", math.inf))
                found.append(Checkpoint(folder, int(facts["step"]), attempt.fence, eval_loss))
    found.sort(key=lambda checkpoint: (checkpoint.step, checkpoint.fence), reverse=True)
    return found, broken


def _origin_of(facts: dict[str, str | int]) -> Origin | None:
    try:
        return Origin(
            str(facts["spec_hash"]), str(facts["base_revision"]), int(facts["stage_index"])
        )
    except (KeyError, ValueError):
        return None
