"""From the events of the trainer library to the observer of a training."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import Any

from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from services.trainer.recipes.checkpoint_layout import fitted
from services.trainer.recipes.generation import generator_of
from services.trainer.recipes.model import widen_learnt
from services.trainer.recipes.training import Observer, Resolved, Training

REFERENCE = "ref"
"""What TRL calls its frozen copy of an adapter that is trained on, and the folder of it."""
SAMPLES_SHARE_MAX = 0.01
"""Share of the time of training that samples may take: where a model is so small that evaluations
follow each other within a second, some go without. The first and the last have them always."""


def execute(trainer: Any, training: Training) -> None:
    """Run a trainer of TRL to its end, from the checkpoint if there is one; it prints nothing."""
    trainer.remove_callback(PrinterCallback)
    widen_learnt(trainer.model)
    resume_from = training.resume_from
    if resume_from is not None:
        resume_from = fitted(trainer, resume_from, training.output_folder)
    trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)


class Bridge(TrainerCallback):  # type: ignore[misc]  # transformers has no types.
    """Hands the trainer library's events to the observer."""

    def __init__(self, observer: Observer, training: Training) -> None:
        """Keep the observer, and where the trainer library writes checkpoints."""
        self._observer = observer
        self._output_folder = training.output_folder
        self._samples = training.samples
        self._sample_tokens_max = training.sample_tokens_max
        self._begin_s = time.monotonic()
        self._sampled_s = 0.0

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> None:
        """Say what is trained and how, where that begins, and what was measured before."""
        self._observer.on_resolved(resolved(args, parts["model"]))
        numbers = ((int(entry["step"]), self.numbers(entry)) for entry in state.log_history)
        losses = {step: found["eval_loss"] for step, found in numbers if "eval_loss" in found}
        self._begin_s = time.monotonic()
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

    def on_evaluate(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Let the model answer the sample prompts: greedily, so that no random number is drawn."""
        if not self._samples or args.world_size > 1:  # One process alone has not all weights.
            return
        begin_s = time.monotonic()
        last = state.global_step >= state.max_steps
        if not last and self._sampled_s > SAMPLES_SHARE_MAX * (begin_s - self._begin_s):
            return
        was_training = model.training
        try:
            answers = generator_of(model, processing_class).answer(
                self._samples,
                self._sample_tokens_max,
                lambda _: self._observer.on_step(state.global_step),
            )
        finally:
            model.train(was_training)
            self._sampled_s += time.monotonic() - begin_s
        self._observer.on_samples(state.global_step, answers)

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
