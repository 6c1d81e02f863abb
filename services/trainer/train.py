"""TRAIN: the recipe runs, its checkpoints are kept whole, and the best one is chosen."""

from __future__ import annotations

import importlib
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from services.trainer import checkpoint
from services.trainer.base_models import read_shape
from services.trainer.checkpoint import Checkpoint, find_checkpoints
from services.trainer.recipes import RECIPES, REINFORCED
from services.trainer.recipes.training import Resolved, Train, Training
from services.trainer.reward import reward_of
from services.trainer.run import RunFailed, RunPaused
from services.trainer.run_context import RunContext, refused

POINTS_MAX = 400
"""Points that the metrics of a run have at most, evaluations aside."""
BLIND_TIMES_MAX = 3.0
"""An evaluation so many times worse than equal chances for every token has lost its way, though
its loss is still a number."""
SCRATCH = "scratch"
"""Where the trainer library writes before a checkpoint is moved to its place."""


def train(context: RunContext) -> dict[str, Any]:
    """Train from the newest complete checkpoint, or from the start when there is none.

    Returns:
        Which checkpoint is the best, how many steps there were, and what the settings became.

    Raises:
        RunFailed: If the loss or the gradient is no number, or is beyond all reason.
        RunPaused: If the run is to halt; its checkpoint is written.
    """
    run_folder = context.artefacts.run(context.manifest.run_id)
    found, broken = find_checkpoints(run_folder, context.origin, context.manifest.fence)
    for folder in broken:
        context.attempt.say(f"Checkpoint {folder.name} of {folder.parts[-3]} is broken; left out.")
    scratch = context.attempt.folder / SCRATCH
    training = plan(context, scratch, found[0].folder if found else None)
    context.longest_count = longest_count(training)
    watch = _Watch(context, training)
    module = importlib.import_module(RECIPES[context.stage.technique])
    recipe: Train = module.train
    # A run that died after its last step has nothing left to train.
    if not found or found[0].step < training.steps_total:
        recipe(training, watch)
    shutil.rmtree(scratch, ignore_errors=True)
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


def plan(context: RunContext, scratch: Path, resume_from: Path | None) -> Training:
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
        reward=refused(partial(reward_of, context)) if is_reinforced else None,
    )


class _Watch:
    """The observer of a training: writes numbers, keeps checkpoints, stops what must stop."""

    def __init__(self, context: RunContext, training: Training) -> None:
        self.step = 0
        self._context = context
        self._training = training
        self._losses: dict[int, float] = {}
        self._loss: float | None = None
        self._saved: list[Checkpoint] = []
        shape = read_shape(context.model_folder)
        vocabulary_size = shape.vocabulary_size if shape is not None else 0
        self._loss_max = BLIND_TIMES_MAX * math.log(max(2, vocabulary_size))

    def on_resolved(self, resolved: Resolved) -> None:
        self._context.attempt.write_resolved(asdict(resolved))
        self._context.attempt.say(str(resolved))

    def on_start(self, step: int, eval_losses: Mapping[int, float]) -> None:
        self.step = step
        self._losses = dict(eval_losses)
        if step:
            self._context.attempt.say(f"Goes on from the checkpoint of step {step}.")
        self._context.report(step, self._training.steps_total)

    def on_step(self, step: int) -> None:
        self.step = step
        self._context.report(step, self._training.steps_total, self._loss)

    def on_metrics(self, step: int, values: Mapping[str, float]) -> None:
        for name in ("loss", "grad_norm", "eval_loss"):
            value = values.get(name, 0.0)
            if not math.isfinite(value):
                raise self._diverged(f"{name} is {value}")
        if values.get("eval_loss", 0.0) > self._loss_max:
            raise self._diverged(
                f"eval_loss is {values['eval_loss']:.3g} nats per token, where guessing blindly "
                f"has {self._loss_max / BLIND_TIMES_MAX:.3g}"
            )
        if "eval_loss" in values:
            self._losses[step] = values["eval_loss"]
        self._loss = values.get("loss", self._loss)
        self._context.attempt.log_metrics(step, values)

    def on_checkpoint(self, step: int, folder: Path) -> None:
        self._saved.append(
            checkpoint.save(
                folder,
                self._context.attempt.checkpoints,
                self._context.origin,
                step=step,
                fence=self._context.manifest.fence,
                eval_loss=self._losses.get(step, math.inf),
            )
        )
        self._saved = checkpoint.prune(self._saved)
        if self._context.is_pausing:
            raise RunPaused

    def wants_checkpoint(self) -> bool:
        return self._context.is_pausing

    def _diverged(self, what: str) -> RunFailed:
        rate = self._context.stage.hyperparameters.learning_rate
        return RunFailed(
            "DIVERGED",
            f"{what} at step {self.step}. Lower the learning rate, now {rate:g}, or look for "
            "broken rows.",
        )

    def is_enough(self) -> bool:
        """Return whether the last evaluations, as many as the patience, brought no better loss."""
        if not self._losses:
            return False
        best_step = min(self._losses, key=lambda step: (self._losses[step], step))
        since = sum(step > best_step for step in self._losses)
        patience = self._context.stage.hyperparameters.early_stopping_patience
        if since >= patience:
            self._context.attempt.say(
                f"Stopped at step {self.step}: {since} evaluations without improvement."
            )
        return since >= patience
