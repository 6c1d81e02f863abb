"""TRAIN: the recipe runs, its checkpoints are kept whole, and the best one is chosen."""

from __future__ import annotations

import importlib
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from attune.spec.v1.compute_pb2 import ParallelPlan

from services.trainer.attempt import SCRATCH
from services.trainer.gang import Meeting
from services.trainer.phases.reward import reward_of
from services.trainer.phases.training_watch import TrainingWatch, sample_rows
from services.trainer.recipes import RECIPES, REINFORCED
from services.trainer.recipes.checkpoint_layout import is_sharded
from services.trainer.recipes.together import joined
from services.trainer.recipes.training import Observer, Train, Training
from services.trainer.runtime import checkpoint
from services.trainer.runtime.checkpoint import Checkpoint, find_checkpoints
from services.trainer.runtime.crash_points import CrashPoint, reach
from services.trainer.runtime.run_context import RunContext, refused

POINTS_MAX = 400
"""Points that the metrics of a run have at most, evaluations aside."""
SAMPLE_TOKENS_MAX = 32
"""Longest answer to a sample prompt: enough to see what it becomes."""


def train(context: RunContext) -> dict[str, Any]:
    """Train from the newest complete checkpoint, or from the start when there is none.

    Returns:
        Which checkpoint is the best, how many steps there were, and what the settings became.

    Raises:
        RunFailed: If the loss or the gradient is no number, or is beyond all reason.
        RunPaused: If the run is to halt; its checkpoint is written.
    """
    run_folder = context.artefacts.run(context.manifest.run_id)
    found, left_out = find_checkpoints(run_folder, context.origin, context.manifest.fence)
    for one in left_out:
        name, attempt = one.folder.name, one.folder.parts[-3]
        context.attempt.say(f"Checkpoint {name} of {attempt} {one.why}; left out.")
    if found:
        _say_when_laid_out_otherwise(context, found[0])
    scratch = context.attempt.folder / SCRATCH
    training = plan_of(context, scratch, found[0].folder if found else None)
    context.longest_count = longest_count(training)
    _say_when_evaluated_less(context, training)
    reach(CrashPoint.TRAIN_PLANNED)
    watch = TrainingWatch(context, training)
    module = importlib.import_module(RECIPES[context.stage.technique])
    recipe: Train = module.train
    # A run that died after its last step has nothing left to train.
    if not found or found[0].step < training.steps_total:
        with _with_others(context, training, watch) as observer:
            recipe(training, observer)
    shutil.rmtree(scratch, ignore_errors=True)
    reach(CrashPoint.TRAIN_ENDED)
    complete, _ = find_checkpoints(run_folder, context.origin, context.manifest.fence)
    chosen = checkpoint.best(complete)
    return {
        "best": str(chosen.folder.relative_to(run_folder)),
        "best_step": chosen.step,
        "best_eval_loss": chosen.eval_loss,
        "resumed_step": found[0].step if found else 0,
        "step_count": watch.step or complete[0].step,
        "steps_total": training.steps_total,
        "resolved": context.attempt.resolved(),
        "memory": _memory(context, training, watch.step - (found[0].step if found else 0)),
    }


def longest_count(training: Training) -> int:
    """Return the tokens of the longest sequence that is learnt."""
    longest = max((one.length for one in training.train), default=0)
    answer = training.hyperparameters.rl.max_completion_length if training.reward else 0
    return longest + answer


def _memory(context: RunContext, training: Training, fresh: int) -> dict[str, Any] | None:
    """Return what training took here and how it was laid out, for estimates to learn from.

    Args:
        context: The run.
        training: The stage.
        fresh: Optimizer steps that this attempt did.

    Returns:
        None when it has not seen all rows, and so perhaps not the longest one.
    """
    values = training.hyperparameters
    steps_per_epoch = math.ceil(len(training.train) / values.effective_batch_size)
    if fresh < min(steps_per_epoch, training.steps_total):
        return None
    return {
        "peak_bytes": context.peak_bytes,
        "max_token_count": context.longest_count,
        "profile": context.manifest.placement.get("profile", ""),
        "parallel_plan": context.manifest.placement.get("parallel_plan", {}),
    }


def _say_when_evaluated_less(context: RunContext, training: Training) -> None:
    settings = context.stage.hyperparameters
    steps = math.ceil(len(training.train) / settings.effective_batch_size)
    if steps < settings.evaluations_per_epoch:
        context.attempt.say(
            f"An epoch has {steps} steps, so it is evaluated after each of them and not "
            f"{settings.evaluations_per_epoch} times."
        )


def _say_when_laid_out_otherwise(context: RunContext, newest: Checkpoint) -> None:
    """Say that a checkpoint was written with weights sharded where they are whole now, or so."""
    sharded = context.gang is not None and context.plan.sharding == ParallelPlan.SHARDING_FSDP
    if is_sharded(newest.folder) != sharded:
        before, now = ("whole", "sharded") if sharded else ("sharded", "whole")
        context.attempt.say(
            f"The checkpoint of step {newest.step} was written with weights {before}, and they are "
            f"{now} now: its weights and the optimizer's states are laid out anew, and random "
            "numbers begin anew."
        )


@contextmanager
def _with_others(context: RunContext, training: Training, watch: Observer) -> Iterator[Observer]:
    """Lead the gang of this attempt, if it is one; yields whom to tell."""
    if context.gang is None:
        yield watch
        return
    meeting = Meeting.call(context.gang, context.attempt.folder, training.resume_from)
    with joined(context.gang, meeting, watch, cuda=training.use_cuda) as observer:
        yield observer


def plan_of(context: RunContext, scratch: Path, resume_from: Path | None) -> Training:
    """Return the stage with all counts resolved to optimizer steps."""
    settings = context.stage.hyperparameters
    examples = [example for example in context.train_examples if example is not None]
    validation = [example for example in context.validation_examples if example is not None]
    steps_per_epoch = math.ceil(len(examples) / settings.effective_batch_size)
    steps_total = max(1, math.ceil(settings.epoch_count * steps_per_epoch))
    if settings.HasField("max_step_count"):
        steps_total = min(steps_total, settings.max_step_count)
    is_reinforced = context.stage.technique in REINFORCED
    return Training(
        model_folder=context.model_folder,
        method=context.stage.method,
        hyperparameters=settings,
        plan=context.plan,
        train=examples,
        validation=validation,
        output_folder=scratch,
        resume_from=resume_from,
        base_adapter=context.base_adapter,
        use_cuda=context.use_cuda,
        steps_total=steps_total,
        evaluation_steps=max(1, steps_per_epoch // settings.evaluations_per_epoch),
        logging_steps=max(1, steps_total // POINTS_MAX),
        warmup_steps=round(settings.warmup_ratio * steps_total),
        samples=[context.prompt_ids(row) for row in sample_rows(context)],
        sample_tokens_max=min(SAMPLE_TOKENS_MAX, context.spec.evaluation.max_answer_tokens),
        reward=refused(partial(reward_of, context)) if is_reinforced else None,
        device_count=context.gang.size if context.gang else 1,
    )
