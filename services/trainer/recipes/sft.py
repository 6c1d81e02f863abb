"""Supervised fine-tuning with LoRA by TRL. Shapes: see the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from attune.spec.v1.compute_pb2 import ParallelPlan
from attune.spec.v1.stage_pb2 import Hyperparameters, LoraParameters
from peft import LoraConfig
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState
from transformers.utils import logging as transformers_logging
from trl import SFTConfig, SFTTrainer

from services.trainer.recipes.generation import load_base
from services.trainer.recipes.training import Example, Observer, Training

SCHEDULERS = {
    Hyperparameters.SCHEDULE_COSINE: "cosine",
    Hyperparameters.SCHEDULE_LINEAR: "linear",
    Hyperparameters.SCHEDULE_CONSTANT: "constant_with_warmup",
}
DTYPES = {
    ParallelPlan.PRECISION_BFLOAT16: torch.bfloat16,
    ParallelPlan.PRECISION_FLOAT16: torch.float16,
}
"""Of the half formats; all else is float32."""
ALL_LINEAR = "all-linear"


def train(training: Training, observer: Observer) -> None:
    """Train one stage; checkpoints and numbers go to the observer, whose errors pass through."""
    transformers_logging.set_verbosity_error()
    datasets.disable_progress_bars()
    folder = training.model_folder
    trainer = SFTTrainer(
        model=load_base(folder, dtype_of(training.plan)),
        args=config(training),
        train_dataset=_dataset(training.train),
        eval_dataset=_dataset(training.validation),
        processing_class=AutoTokenizer.from_pretrained(folder, local_files_only=True),
        peft_config=lora(training.hyperparameters.lora),
        callbacks=[_Bridge(observer, training.output_folder)],
    )
    trainer.remove_callback(PrinterCallback)
    resume_from = training.resume_from
    trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)


def dtype_of(plan: ParallelPlan) -> torch.dtype:
    """Return what the base is loaded in; adapters stay in float32, as a scaled loss needs."""
    return DTYPES.get(plan.precision, torch.float32)


def config(training: Training) -> SFTConfig:
    """Return TRL's settings with every value that matters taken from the spec."""
    values = training.hyperparameters
    return SFTConfig(
        output_dir=str(training.output_folder),
        learning_rate=values.learning_rate,
        lr_scheduler_type=SCHEDULERS[values.schedule],
        warmup_steps=training.warmup_steps,
        optim="adamw_torch_fused",
        adam_beta1=0.9,
        adam_beta2=0.95,
        adam_epsilon=1e-8,
        weight_decay=values.weight_decay,
        max_grad_norm=values.max_gradient_norm,
        max_steps=training.steps_total,
        per_device_train_batch_size=training.plan.micro_batch_size,
        per_device_eval_batch_size=training.plan.micro_batch_size,
        gradient_accumulation_steps=training.plan.gradient_accumulation_steps,
        gradient_checkpointing=training.plan.gradient_checkpointing,
        bf16=training.plan.precision == ParallelPlan.PRECISION_BFLOAT16,
        fp16=training.plan.precision == ParallelPlan.PRECISION_FLOAT16,
        max_length=values.max_length,
        packing=False,
        loss_type="nll",
        # The rows come as tokens and labels, made with the mask that VALIDATE has counted; with
        # this set TRL would ask for messages and do the same again.
        assistant_only_loss=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_num_workers=0,
        dataloader_pin_memory=training.use_cuda,
        dataloader_drop_last=False,
        seed=values.seed,
        data_seed=values.seed,
        eval_strategy="steps",
        eval_steps=training.evaluation_steps,
        save_strategy="steps",
        save_steps=training.evaluation_steps,
        save_total_limit=None,
        save_only_model=False,
        load_best_model_at_end=False,
        logging_strategy="steps",
        logging_steps=training.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        push_to_hub=False,
        use_cpu=not training.use_cuda,
    )


def lora(values: LoraParameters) -> LoraConfig:
    """Return peft's settings of the adapter."""
    modules = list(values.target_modules)
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=values.rank,
        lora_alpha=values.alpha,
        lora_dropout=values.dropout,
        target_modules=ALL_LINEAR if modules == [ALL_LINEAR] else modules,
        bias="none",
        use_rslora=False,
        use_dora=False,
        init_lora_weights=True,
    )


def _dataset(examples: Sequence[Example]) -> datasets.Dataset:
    return datasets.Dataset.from_dict(
        {
            "input_ids": [list(example.token_ids) for example in examples],
            "labels": [list(example.labels) for example in examples],
        }
    )


class _Bridge(TrainerCallback):  # type: ignore[misc]  # transformers has no types.
    """Hands the trainer library's events to the observer."""

    def __init__(self, observer: Observer, output_folder: Path) -> None:
        self._observer = observer
        self._output_folder = output_folder

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        evaluated = (entry for entry in state.log_history if "eval_loss" in entry)
        losses = {int(entry["step"]): float(entry["eval_loss"]) for entry in evaluated}
        # A resumed state says the layout of the attempt that wrote it; this one has its own.
        state.train_batch_size = args.train_batch_size
        self._observer.on_start(state.global_step, losses)

    def on_substep_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._observer.on_step(state.global_step)

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._observer.on_step(state.global_step)
        if self._observer.wants_checkpoint():
            control.should_save = True

    def on_prediction_step(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._observer.on_step(state.global_step)

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        numbers = {
            name: float(value)
            for name, value in (logs or {}).items()
            if isinstance(value, int | float)
        }
        self._observer.on_metrics(state.global_step, numbers)

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        folder = self._output_folder / f"checkpoint-{state.global_step}"
        self._observer.on_checkpoint(state.global_step, folder)
        if self._observer.is_enough():
            control.should_training_stop = True
