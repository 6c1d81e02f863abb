"""Reads rows of measured throughput: what each ran, and how many tokens a second."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.stage_pb2 import Method

from bench.cells import fact_of, find_shape, number_of, plain_name, read_shapes, read_table
from bench.frameworks import framework_of
from services.scheduler.catalogue import read_catalogue
from services.scheduler.profile import Precision, Profile
from services.scheduler.runtime import Batching

LENGTH = 1024
BATCH = 2
EFFICIENCY = 0.45
"""Of a device that no profile describes: between those that were measured."""
ACCUMULATION = 8
"""Passes of a step when a row names none; only full fine-tuning's update depends on it."""


@dataclass(frozen=True)
class Row:
    """One row: what ran and how fast it was."""

    source: str
    technique: str
    method_name: str
    device: str
    shape: ModelShape | None
    """None when it is not supported; `reason` then says why."""
    reason: str
    method: Method.ValueType
    profile: Profile | None
    batching: Batching
    token_count: int
    tokens_per_s: float | None
    """On one device."""
    known: bool


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table; shapes and devices are looked up in the tables beside it."""
    shapes = read_shapes(path.with_name("architectures.csv"))
    profiles = read_profiles(path.with_name("gpus.csv"))
    with path.open(newline="", encoding="utf-8-sig") as lines:
        return [_row(cells, shapes, profiles) for cells in csv.DictReader(lines)]


def read_profiles(path: Path) -> dict[str, Profile]:
    """Return the product's profiles and, for devices that it has none of, those of a table."""
    catalogue = read_catalogue().profiles
    profiles = {}
    for cells in read_table(path):
        rate, bandwidth = (
            number_of(cells, "bf16_dense_tflops"),
            number_of(cells, "mem_bandwidth_gb_s"),
        )
        if rate and bandwidth:
            profiles[plain_name(cells["gpu"])] = replace(
                catalogue["a100-80gb"],
                id=cells["gpu"],
                title=cells["gpu"],
                precision=Precision.BFLOAT16,
                flops_per_s=rate * 1e12,
                efficiency=EFFICIENCY,
                bandwidth_bytes_per_s=bandwidth * 1e9,
                link_bytes_per_s=(number_of(cells, "nvlink_gb_s_total") or 0) * 1e9 / 2,
            )
    for profile in catalogue.values():
        if profile.is_gpu:
            plain = plain_name(profile.title.removeprefix("NVIDIA "))
            profiles[plain] = profile
    return profiles


def find_profile(profiles: dict[str, Profile], model: str) -> Profile | None:
    """Return the profile of a device by its name, spelt in any way, or None."""
    name = re.sub(r"sxm\d?|pcie|\d+w$", "", plain_name(model))
    if not name:
        return None
    plain = {re.sub(r"sxm\d?|nvidia", "", known): each for known, each in profiles.items()}
    if name in plain:
        return plain[name]
    fitting = [known for known in plain if name in known or known in name]
    if not fitting:
        head = re.match(r"[a-z]+\d+[a-z]*", name)
        fitting = [known for known in plain if head and known.startswith(head.group())]
    # Where a name leaves the choice, the device that the product has measured is meant.
    own = [known for known in fitting if plain[known].id in read_catalogue().profiles]
    return plain[max(own or fitting, key=len)] if fitting else None


def _row(cells: dict[str, str], shapes: dict[str, ModelShape], profiles: dict[str, Profile]) -> Row:
    source, name = cells.get("source") or "unknown", (cells.get("method") or "").lower()
    shape = find_shape(shapes, cells.get("model") or "")
    profile = find_profile(profiles, cells.get("gpu_model") or "")
    devices = int(number_of(cells, "gpus") or 1)
    reason = _not_offered(cells, name, shape, profile)
    framework = framework_of(source, cells.get("notes") or "")
    checkpointing = fact_of(cells, "activation_checkpointing")
    length, batch = number_of(cells, "seq_len"), number_of(cells, "micro_batch")
    parallel = (cells.get("parallelism") or "").lower()
    said = checkpointing is not None and length is not None and batch is not None
    if checkpointing is None:
        checkpointing = framework.checkpoints_alone or devices > 1
    return Row(
        source=source,
        technique=cells.get("task") or "unknown",
        method_name=cells.get("method") or "unknown",
        device=cells.get("gpu_model") or "unknown",
        shape=None if reason else shape,
        reason=reason,
        method=_method(name),
        profile=profile,
        batching=Batching(
            micro_batch_size=int(batch or BATCH),
            gradient_accumulation_steps=int(number_of(cells, "grad_accum") or _accumulation(batch)),
            gradient_checkpointing=checkpointing,
            device_count=devices,
            sharded=devices > 1 and parallel not in ("none", "ddp", "single"),
        ),
        token_count=int(length or LENGTH),
        tokens_per_s=_tokens_per_s(cells, devices),
        known=said,
    )


def _tokens_per_s(cells: dict[str, str], devices: int) -> float | None:
    """Return the measured speed of one device, from whichever columns say it."""
    if one := number_of(cells, "tokens_per_s_per_gpu"):
        return one
    total = number_of(cells, "tokens_per_s_total")
    batch, length = number_of(cells, "global_batch"), number_of(cells, "seq_len")
    step = number_of(cells, "step_time_s")
    if total is None and batch and length and step:
        total = batch * length / step
    return total / devices if total else None


def _accumulation(batch: float | None) -> int:
    return 1 if batch else ACCUMULATION


def _method(name: str) -> Method.ValueType:
    if name.startswith("full"):
        return Method.METHOD_FULL
    return Method.METHOD_QLORA if name.startswith("qlora") else Method.METHOD_LORA


def _not_offered(
    cells: dict[str, str], name: str, shape: ModelShape | None, profile: Profile | None
) -> str:
    task = (cells.get("task") or "SFT").lower()
    if not task.startswith("sft"):
        return f"task {task}"
    if not re.fullmatch(r"full.*|q?lora(\(\w+\))?( .*)?|lora\+emb\+head|q?dora", name):
        return f"method {name or 'unknown'}"
    if "8" in (precision := (cells.get("precision") or "").lower()) and "fp8" in precision:
        return "8-bit floats"
    if "float8" in precision:
        return "8-bit floats"
    if shape is None or not shape.parameter_count:
        return "architecture unknown"
    return "" if profile else "device unknown"
