"""The bare script's side of one training: told by the job's own files, on the job's own cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from bench.system import ROOT
from bench.techniques import CRITERIA, JUDGE, Case

TIMEOUT_S = 1800
SHARED = (
    "learning_rate", "lr_scheduler_type", "warmup_steps", "optim", "adam_beta2", "weight_decay",
    "max_grad_norm", "max_steps", "per_device_train_batch_size", "per_device_eval_batch_size",
    "gradient_accumulation_steps", "gradient_checkpointing", "seed", "eval_strategy", "eval_steps",
    "save_strategy", "save_steps", "logging_steps",
)  # fmt: skip
"""Settings of every technique that are taken over as the job has resolved them."""
REINFORCED = (
    "eval_on_start", "num_generations", "num_generations_eval", "steps_per_generation",
    "num_iterations", "max_completion_length", "temperature", "top_p", "top_k",
    "repetition_penalty", "beta", "epsilon", "epsilon_high", "loss_type", "scale_rewards",
    "mask_truncated_completions",
)  # fmt: skip


@dataclass(frozen=True)
class Bare:
    """How a technique is told to its bare script."""

    recipe: str
    """Module of the job's side, whose `config` says what TRL is told."""
    taken: tuple[str, ...]
    """Settings beside the shared ones."""
    row: Callable[[Any], dict[str, Any]]
    """Makes a row as people hand it to TRL from one of the trainer."""


BARE: Mapping[str, Bare] = {
    "sft": Bare("sft", ("max_length",), lambda row: {"messages": row.messages}),
    "dpo": Bare(
        "dpo",
        ("beta", "label_smoothing", "loss_type", "max_length", "truncation_mode"),
        lambda row: {
            "prompt": row.prompt,
            "chosen": row.messages[-1:],
            "rejected": row.rejected[-1:],
        },
    ),
    "rlvr": Bare("grpo", REINFORCED, lambda row: _prompt(row)),
    "rlaif": Bare("grpo", REINFORCED, lambda row: _prompt(row)),
}


@dataclass(frozen=True)
class BareTimes:
    """What one bare script took."""

    first_step_s: float
    """Shell to the end of the first optimizer step."""
    train_s: float
    """Inside train()."""
    step_count: int
    """Optimizer steps."""


def run_bare(case: Case, folder: Path) -> BareTimes:
    """Run the same training as an attempt in a bare script, on the same cores.

    Args:
        case: What is measured.
        folder: Of the attempt.

    Raises:
        SystemExit: If the script fails, with its last words.
    """
    manifest = json.loads((folder / "run.json").read_text())
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "settings.json"
        path.write_text(json.dumps(settings_of(case, folder, Path(name) / "out")))
        begin = time.time()
        process = subprocess.Popen(
            [sys.executable, "-m", case.script, path],
            env=os.environ | {"OMP_NUM_THREADS": str(manifest["threads"]), "HF_HUB_OFFLINE": "1"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        psutil.Process(process.pid).cpu_affinity(list(manifest["cpus"]))
        said, complained = process.communicate(timeout=TIMEOUT_S)
    if process.returncode != 0:
        raise SystemExit(complained[-3000:])
    found = json.loads(said.splitlines()[-1])
    return BareTimes(found["first_step_time"] - begin, found["train_s"], found["step_count"])


def settings_of(case: Case, folder: Path, output: Path) -> dict[str, Any]:
    """Return the settings of the bare script that make the same training as an attempt.

    Args:
        case: What is measured.
        folder: Of the attempt.
        output: Where the bare script writes its checkpoints.
    """
    from services.trainer.attempt import Attempt
    from services.trainer.phases.train import plan_of
    from services.trainer.recipes.training import VALIDATION_PROMPTS_MAX
    from services.trainer.runtime.run_context import RunContext
    from services.trainer.runtime.stopping import Signals

    attempt = Attempt(folder)
    manifest = attempt.manifest()
    if manifest is None:
        raise SystemExit(f"{folder} holds no manifest")
    context = RunContext(attempt, manifest, Signals(), lambda: None)
    bare = BARE[case.technique]
    recipe = import_module(f"services.trainer.recipes.{bare.recipe}")
    chosen = recipe.config(plan_of(context, output, None))
    config = {name: getattr(chosen, name) for name in (*SHARED, *bare.taken)}
    config = {name: getattr(value, "value", value) for name, value in config.items()}
    lora = context.stage.hyperparameters.lora
    validation = context.split.validation
    if bare.recipe == "grpo":
        validation = validation[:VALIDATION_PROMPTS_MAX]
    return {
        "model": str(context.model_folder),
        "threads": manifest.threads,
        "train": [bare.row(row) for row in context.split.train],
        "validation": [bare.row(row) for row in validation],
        "config": config | _of_this_machine(output) | (
            {"assistant_only_loss": True} if bare.recipe == "sft" else {}
        ),
        "lora": {
            "task_type": "CAUSAL_LM", "r": lora.rank, "lora_alpha": lora.alpha,
            "lora_dropout": lora.dropout, "target_modules": "all-linear",
        },
        "judge": _judge() if case.technique == "rlaif" else None,
    }  # fmt: skip


def _of_this_machine(output: Path) -> dict[str, Any]:
    return {
        "output_dir": str(output),
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "disable_tqdm": True,
        "save_total_limit": 3,
    }


def _judge() -> dict[str, Any]:
    from services.trainer.settings import JudgeSettings

    settings = JudgeSettings.of_environment()
    return {
        "url": settings.base_url,
        "workers": settings.workers,
        "model": JUDGE,
        "criteria": CRITERIA,
    }


def _prompt(row: Any) -> dict[str, Any]:
    return {"prompt": row.messages, "reference": row.reference}
