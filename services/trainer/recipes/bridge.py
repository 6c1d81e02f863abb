"""From the events of the trainer library to the observer of a training."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from services.trainer.recipes.training import Observer, Resolved, Training

REFERENCE = "ref"
"""What TRL calls its frozen copy of an adapter that is trained on, and the folder of it."""


def execute(trainer: Any, training: Training) -> None:
    """Run a trainer of TRL to its end, from the checkpoint if there is one; it prints nothing."""
    trainer.remove_callback(PrinterCallback)
    resume_from = training.resume_from
    trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)


class Bridge(TrainerCallback):  # type: ignore[misc]  # transformers has no types.
    """Hands the trainer library's events to the observer."""

    def __init__(self, observer: Observer, output_folder: Path) -> None:
        """Keep the observer and where the trainer library writes checkpoints."""
        self._observer = observer
        self._output_folder = output_folder

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Say what is trained and how, where that begins, and what was measured before."""
        self._observer.on_resolved(resolved(args, parts["model"]))
        numbers = ((int(entry["step"]), self.numbers(entry)) for entry in state.log_history)
        losses = {step: found["eval_loss"] for step, found in numbers if "eval_loss" in found}
        # A resumed state says the layout of the attempt that wrote it; this one has its own.
        state.train_batch_size = args.train_batch_size
        self._observer.on_start(state.global_step, losses)

    def on_substep_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Let a run be stopped between two micro-batches."""
        self._observer.on_step(state.global_step)

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Say that a step is done, and save if the observer wants it."""
        self._observer.on_step(state.global_step)
        if self._observer.wants_checkpoint():
            control.should_save = True

    def on_prediction_step(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Let a run be stopped within an evaluation."""
        self._observer.on_step(state.global_step)

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Hand on the numbers of a step."""
        self._observer.on_metrics(state.global_step, self.numbers(logs or {}))

    def numbers(self, logs: Mapping[str, Any]) -> dict[str, float]:
        """Return what the observer is told of the numbers of a step."""
        return {
            name: float(value) for name, value in logs.items() if isinstance(value, int | float)
        }

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Hand over a checkpoint, and stop if the observer has seen enough."""
        folder = self._output_folder / f"checkpoint-{state.global_step}"
        # The reference is the adapter of the stage before, which is loaded anew; and where a
        # checkpoint has folders of adapters, transformers resumes those alone and leaves the
        # learnt one beside them unread.
        shutil.rmtree(folder / REFERENCE, ignore_errors=True)
        self._observer.on_checkpoint(state.global_step, folder)
        if self._observer.is_enough():
            control.should_training_stop = True


def resolved(args: Any, model: Any) -> Resolved:
    """Return what the trainer library was told.

    Args:
        args: Its settings, with every default filled in.
        model: As it is trained.
    """
    micro, accumulation = args.train_batch_size, args.gradient_accumulation_steps
    half = "bfloat16" if args.bf16 else "float16" if args.fp16 else "float32"
    weights = str(model.dtype).removeprefix("torch.")
    return Resolved(
        micro_batch_size=micro,
        gradient_accumulation_step_count=accumulation,
        device_count=args.world_size,
        effective_batch_size=micro * accumulation * args.world_size,
        step_count=args.max_steps,
        warmup_step_count=int(args.warmup_steps),
        learning_rate=args.learning_rate,
        trainable_parameter_count=sum(
            one.numel() for one in model.parameters() if one.requires_grad
        ),
        precision=half,
        weight_format="nf4" if getattr(model, "is_loaded_in_4bit", False) else weights,
        attention=model.config._attn_implementation,
    )
