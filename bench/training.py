"""One training twice: as a job of a whole Attune, and as a bare TRL script. Used by two benches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from bench.system import ROOT, System

EXAMPLE = ROOT / "examples" / "support-tickets"
SENTENCE = "Route our customers' support tickets to JSON records of team, product and priority."
JOB_TIMEOUT_S = 1800
POLL_S = 0.2


@dataclass(frozen=True)
class JobTimes:
    """What one job took, from its own files."""

    folder: Path
    """Of the attempt."""
    approve_to_first_step_s: float
    """Commit of the approval to the end of the first optimizer step."""
    checks_s: float
    """Of those, inside VALIDATE and BASELINE."""
    train_s: float
    """Inside TRAIN."""


def run_job(system: System, epochs: int) -> JobTimes:
    """Plan, approve and run one job on the bundled rows, and return its times."""
    rows, holdout = EXAMPLE / "train.jsonl", EXAMPLE / "holdout.jsonl"
    dataset = system.json("dataset", "upload", str(rows), "--holdout", str(holdout))
    asked = system.json("ask", SENTENCE, "--dataset", dataset["name"])
    answer = f"At least 80 percent. Use {epochs} epochs."
    talked = system.json("ask", answer, "--conversation", asked["name"])
    spec = system.json("spec", "approve", talked["spec"], "--yes")
    job = wait_for_job(system, spec["name"])
    folder = max((system.home / "artefacts" / "runs" / job["run"].rsplit("/", 1)[1]).iterdir())
    return job_times(folder, moment(spec["approval"]["approve_time"]))


def wait_for_job(system: System, spec: str) -> dict[str, Any]:
    """Return the job of a spec when it has succeeded.

    Raises:
        SystemExit: If it ends otherwise, or not within half an hour.
    """
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while time.monotonic() < deadline:
        jobs = [job for job in system.json("job", "list")["jobs"] if job["spec"] == spec]
        if jobs and jobs[0]["state"] in ("STATE_FAILED", "STATE_CANCELLED"):
            raise SystemExit(f"{jobs[0]['name']}: {jobs[0].get('error')}")
        if jobs and jobs[0]["state"] == "STATE_SUCCEEDED":
            return jobs[0]
        time.sleep(2)  # Rarely: each look is a process beside what is measured.
    raise SystemExit("the job did not end")


def job_times(folder: Path, approve_time: float) -> JobTimes:
    """Return the times in an attempt's files."""
    begun: dict[int, float] = {}
    spent: dict[int, float] = {}
    for line in (folder / "phases.jsonl").read_text().splitlines():
        entry = json.loads(line)
        at = moment(entry["time"])
        if entry["event"] == "begin":
            begun[entry["phase"]] = at
        else:
            spent[entry["phase"]] = at - begun[entry["phase"]]
    first = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    return JobTimes(
        folder=folder,
        approve_to_first_step_s=moment(first["time"]) - approve_time,
        checks_s=spent[1] + spent[2],
        train_s=spent[3],
    )


def moment(text: str) -> float:
    """Return an ISO time as seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def bare_settings(folder: Path, output: Path) -> dict[str, Any]:
    """Return the settings of the bare script that make the same training as an attempt.

    Args:
        folder: Of the attempt.
        output: Where the bare script writes its checkpoints.
    """
    from services.trainer.attempt import Attempt
    from services.trainer.phases.train import plan_of
    from services.trainer.recipes import sft
    from services.trainer.recipes.training import Training
    from services.trainer.runtime.run_context import RunContext
    from services.trainer.runtime.stopping import Signals

    attempt = Attempt(folder)
    manifest = attempt.manifest()
    if manifest is None:
        raise SystemExit(f"{folder} holds no manifest")
    context = RunContext(attempt, manifest, Signals(), lambda: None)
    training: Training = plan_of(context, output, None)
    chosen = sft.config(training)
    names = (
        "learning_rate", "lr_scheduler_type", "warmup_steps", "optim", "weight_decay",
        "max_grad_norm", "max_steps", "per_device_train_batch_size",
        "per_device_eval_batch_size", "gradient_accumulation_steps", "max_length", "seed",
        "eval_strategy", "eval_steps", "save_strategy", "save_steps", "logging_steps",
    )  # fmt: skip
    config = {name: getattr(chosen, name) for name in names}
    config = {name: getattr(value, "value", value) for name, value in config.items()}
    lora = context.stage.hyperparameters.lora
    return {
        "model": str(context.model_folder),
        "threads": manifest.threads,
        "train": [{"messages": row.messages} for row in context.split.train],
        "validation": [{"messages": row.messages} for row in context.split.validation],
        "config": config | {
            "output_dir": str(output), "assistant_only_loss": True, "use_cpu": True,
            "bf16": False, "report_to": "none", "disable_tqdm": True, "save_total_limit": 3,
            "gradient_checkpointing": chosen.gradient_checkpointing,
        },
        "lora": {
            "task_type": "CAUSAL_LM", "r": lora.rank, "lora_alpha": lora.alpha,
            "lora_dropout": lora.dropout, "target_modules": "all-linear",
        },
    }  # fmt: skip


def run_bare(job: JobTimes) -> dict[str, float]:
    """Run the same training as a bare script, on the same cores, and return its times.

    Returns:
        `first_step_s`, shell to the end of the first step, and `train_s`, inside train().
    """
    manifest = json.loads((job.folder / "run.json").read_text())
    threads = str(manifest["threads"])
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "settings.json"
        path.write_text(json.dumps(bare_settings(job.folder, Path(name) / "out")))
        begin = time.time()
        process = subprocess.Popen(
            [sys.executable, "-P", ROOT / "bench" / "bare_sft.py", path],
            env=os.environ | {"OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        psutil.Process(process.pid).cpu_affinity(list(manifest["cpus"]))
        said, complained = process.communicate(timeout=JOB_TIMEOUT_S)
    if process.returncode != 0:
        raise SystemExit(complained[-3000:])
    found = json.loads(said.splitlines()[-1])
    return {"first_step_s": found["first_step_time"] - begin, "train_s": found["train_s"]}


def stop_serving(system: System) -> None:
    """End serving and its engine for good, by ending first who would restart them."""
    for name in ("supervisor", "serving", "engine"):
        record = json.loads((system.home / "run" / f"{name}.json").read_text())
        os.killpg(record["pid"], 9)
