"""The observer of a training: writes its numbers, keeps its checkpoints, stops what must stop."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from attune.spec.v1.stage_pb2 import Technique

from services.trainer.attempt import TRAINING_SAMPLES
from services.trainer.data.rows import Row, spread
from services.trainer.models.base_models import read_shape
from services.trainer.phases.watchdogs import Action, Alarm, Situation, Watchdogs
from services.trainer.recipes.training import VALIDATION_PROMPTS_MAX, Resolved, Training
from services.trainer.run import Question, RunFailed, RunPaused
from services.trainer.runtime import checkpoint
from services.trainer.runtime.asking import ask
from services.trainer.runtime.checkpoint import Checkpoint
from services.trainer.runtime.crash_points import CrashPoint, reach
from services.trainer.runtime.run_context import RunContext

SAMPLES_MAX = 4
"""Prompts that are answered at each evaluation; one batch, so that it costs little."""

DURATIONS_MAX = 32
"""Newest steps that are looked at for how long one takes."""


class TrainingWatch:
    """Watches one training; see `Observer` for what each method is told."""

    def __init__(self, context: RunContext, training: Training) -> None:
        """Begin before the first step."""
        self.step = 0
        self._context = context
        self._training = training
        self._losses: dict[int, float] = {}
        self._loss: float | None = None
        self._saved: list[Checkpoint] = []
        self._question: Question | None = None
        self._stepped_s = time.monotonic()
        self._durations_s: deque[float] = deque(maxlen=DURATIONS_MAX)
        shape = read_shape(context.model_folder)
        self._watchdogs = Watchdogs(
            Technique.Name(context.stage.technique).removeprefix("TECHNIQUE_"),
            Situation(
                training.hyperparameters.learning_rate,
                shape.vocabulary_size if shape is not None else 0,
                training.steps_total,
                min(len(training.validation), VALIDATION_PROMPTS_MAX),
            ),
        )

    def on_resolved(self, resolved: Resolved) -> None:
        """Write what is trained and how."""
        self._context.attempt.write_resolved(asdict(resolved))
        self._context.attempt.say(str(resolved))

    def on_start(self, step: int, eval_losses: Mapping[int, float]) -> None:
        """Say from where it goes on."""
        self.step = step
        self._stepped_s = time.monotonic()
        self._losses = dict(eval_losses)
        if step:
            self._context.attempt.say(f"Goes on from the checkpoint of step {step}.")
        self._context.report(step, self._training.steps_total)

    def on_step(self, step: int) -> None:
        """Report, and stop if the run is to stop."""
        if step > self.step:
            reach(CrashPoint.TRAIN_STEP)
            self._time_step()
        self.step = step
        self._context.report(step, self._training.steps_total, self._loss)

    def on_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers, and let the watchdogs look at them."""
        for alarm in self._watchdogs.look(step, values):
            self._heed(alarm)
        if "eval_loss" in values:
            self._losses[step] = values["eval_loss"]
            reach(CrashPoint.TRAIN_EVALUATED)
        self._loss = values.get("loss", self._loss)
        self._context.attempt.log_metrics(step, values)

    def on_samples(self, step: int, answers: Sequence[Sequence[int]]) -> None:
        """Write what the model answers by now."""
        for row, token_ids in zip(sample_rows(self._context), answers, strict=True):
            values = {
                "step": step,
                "prompt": row.question,
                "reference": row.reference,
                "answer": self._context.renderer.text(token_ids),
            }
            self._context.attempt.append(TRAINING_SAMPLES, values)

    def on_checkpoint(self, step: int, folder: Path) -> None:
        """Keep it, and halt if the run is to halt."""
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
        reach(CrashPoint.CHECKPOINT_PRUNED)
        if self._question is not None:
            raise RunPaused(self._question)
        if self._context.is_pausing:
            self._context.end_saving()
            raise RunPaused

    def wants_checkpoint(self) -> bool:
        """Return whether the run is to halt."""
        if self._context.is_pausing:
            self._context.begin_saving()
        return self._context.is_pausing or self._question is not None

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

    def _time_step(self) -> None:
        now_s = time.monotonic()
        self._durations_s.append(now_s - self._stepped_s)
        self._stepped_s = now_s
        # The longest has an evaluation and a checkpoint with it.
        self._context.expect_step(max(self._durations_s))

    def _heed(self, alarm: Alarm) -> None:
        action, reason = alarm.watchdog.action, alarm.watchdog.reason
        if action is Action.STOP:
            raise RunFailed(reason, alarm.message)
        if action is Action.WARN:
            self._context.attempt.say(alarm.message)
            return
        try:
            ask(self._context, Question(reason, alarm.message, alarm.figures))
        except RunPaused as pause:
            # Asked at the next step's end, with a checkpoint of it.
            self._question = self._question or pause.question


def sample_rows(context: RunContext) -> list[Row]:
    """Return the validation rows whose prompts are answered: the same ones at each evaluation."""
    asked = list({row.asked: row for row in context.split.validation if row.prompt}.values())
    return [asked[index] for index in spread(asked, SAMPLES_MAX)]
