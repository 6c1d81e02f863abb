"""The settings that every trainer of TRL shares, each taken from the spec or said here."""

from __future__ import annotations

from typing import Any

from attune.spec.v1.compute_pb2 import ParallelPlan
from attune.spec.v1.stage_pb2 import Hyperparameters

from services.trainer.recipes.training import Training

SCHEDULERS = {
    Hyperparameters.SCHEDULE_COSINE: "cosine",
    Hyperparameters.SCHEDULE_LINEAR: "linear",
    Hyperparameters.SCHEDULE_CONSTANT: "constant_with_warmup",
}


def shared_arguments(training: Training) -> dict[str, Any]:
    """Return the keyword arguments that the settings of every technique begin with."""
    values = training.hyperparameters
    return {
        "output_dir": str(training.output_folder),
        "learning_rate": values.learning_rate,
        "lr_scheduler_type": SCHEDULERS[values.schedule],
        "warmup_steps": training.warmup_steps,
        "optim": "adamw_torch_fused",
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "adam_epsilon": 1e-8,
        "weight_decay": values.weight_decay,
        "max_grad_norm": values.max_gradient_norm,
        "max_steps": training.steps_total,
        "per_device_train_batch_size": training.plan.micro_batch_size,
        "per_device_eval_batch_size": training.plan.micro_batch_size,
        "gradient_accumulation_steps": training.plan.gradient_accumulation_steps,
        "gradient_checkpointing": training.plan.gradient_checkpointing,
        "bf16": training.plan.precision == ParallelPlan.PRECISION_BFLOAT16,
        "fp16": training.plan.precision == ParallelPlan.PRECISION_FLOAT16,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": training.use_cuda,
        "dataloader_drop_last": False,
        "seed": values.seed,
        "data_seed": values.seed,
        "eval_strategy": "steps",
        "eval_steps": training.evaluation_steps,
        "save_strategy": "steps",
        "save_steps": training.evaluation_steps,
        "save_total_limit": None,
        "save_only_model": False,
        "load_best_model_at_end": False,
        "logging_strategy": "steps",
        "logging_steps": training.logging_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
        "push_to_hub": False,
        "use_cpu": not training.use_cuda,
    }
