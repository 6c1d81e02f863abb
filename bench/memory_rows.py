"""Reads rows of measured peak memory: what each ran, and what was measured.

The columns are those of the public table that `bench/memory.py` is given: model, technique, method,
rank, targets, formats, optimizer, length, batch, checkpointing, attention, loss kernel, devices,
sharding, offload and the kind of reading. An empty cell is unknown: the default of the framework
that the row belongs to is taken for the expected peak, and the worst for its high bound.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attune.spec.v1.compute_pb2 import ModelShape

from bench.cells import (
    fact_of,
    find_capacity,
    find_shape,
    number_of,
    plain_name,
    read_cards,
    read_shapes,
)
from bench.frameworks import ALL_LINEAR, Framework, Reading, framework_of
from services.scheduler.memory.anatomy import Anatomy, read_anatomy
from services.scheduler.memory.training import (
    Attention,
    Format,
    Loss,
    Objective,
    Offload,
    Optimizer,
    Rollout,
    Sharding,
    Training,
    Tuning,
)

GB = 1_000_000_000
LENGTH = 1024
"""TRL's maximum length, when a row names none."""
ALPACA_LENGTH = 1304
"""Tokens of the longest row of the Alpaca data set, with Llama's tokenizer (litgpt's table)."""
BATCH = 2
ENGINE_SHARE = 0.3
"""TRL's share of the device for a colocated engine."""


MODULES = {
    "q": "q_proj",
    "k": "k_proj",
    "v": "v_proj",
    "o": "o_proj",
    "gate": "gate_proj",
    "up": "up_proj",
    "down": "down_proj",
}


@dataclass(frozen=True)
class Row:
    """One row: what ran and what was measured."""

    source: str
    technique: str
    method: str
    model: str
    training: Training | None
    """None when it is not supported; `reason` then says why."""
    reason: str
    reading: Reading
    peak_bytes: float | None
    """Measured on one device; None when it ran out of memory."""
    out_of_memory: bool
    capacity_bytes: float | None
    worst: Training | None
    """The same with what is not said at its worst: its high bound is the row's."""
    known: bool
    """Whether optimizer, loss kernel, checkpointing, length, batch and adapter are all said."""
    measured: bool
    """False for what its publisher estimated."""


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table; shapes and devices are looked up in the tables beside it."""
    shapes = read_shapes(path.with_name("architectures.csv"))
    cards = read_cards(path.with_name("gpus.csv"))
    with path.open(newline="", encoding="utf-8-sig") as lines:
        return [_row(cells, shapes, cards) for cells in csv.DictReader(lines)]


def _row(cells: dict[str, str], shapes: dict[str, ModelShape], cards: dict[str, float]) -> Row:
    source = cells.get("source") or "unknown"
    assumed: set[str] = set()
    training, reason = None, _not_offered(cells)
    shape = find_shape(shapes, cells.get("model") or "")
    if not reason and (shape is None or not shape.parameter_count):
        reason = "architecture unknown"
    if not reason and shape is not None:
        training = _training(
            cells, shape, assumed, find_capacity(cells.get("gpu_model") or "", cards)
        )
    return Row(
        source=source,
        technique=cells.get("technique") or "unknown",
        method=cells.get("method") or "unknown",
        model=cells.get("model") or "unknown",
        training=training,
        reason=reason,
        reading=_reading(
            cells.get("mem_metric") or "", framework_of(source, cells.get("notes") or "")
        ),
        peak_bytes=_peak_bytes(cells),
        out_of_memory=fact_of(cells, "oom") is True,
        capacity_bytes=find_capacity(cells.get("gpu_model") or "", cards),
        worst=_worst(training, assumed) if training else None,
        known=not assumed,
        measured=(cells.get("kind") or "measured").startswith("measured"),
    )


def _not_offered(cells: dict[str, str]) -> str:
    technique = (cells.get("technique") or "SFT").lower()
    known = ("sft", "dpo", "grpo", "rlvr", "rlaif", "reward", "rm")
    if technique.split(" ")[0].split("_")[0] not in known or "only" in technique:
        return f"technique {technique}"
    method = (cells.get("method") or "").lower()
    if not re.fullmatch(
        r"full.*|q?lora(\((gptq|dora|rslora|nf4)\))?( .*)?|lora\+emb\+head|q?dora", method
    ):
        return f"method {method or 'unknown'}"
    if "capacity" in (cells.get("mem_metric") or ""):
        return "a bound, no reading"
    return ""


def _reading(metric: str, framework: Framework) -> Reading:
    plain = metric.lower()
    if any(word in plain for word in ("nvidia", "process", "screenshot")):
        return Reading.PROCESS
    if "reserved" in plain:
        return Reading.RESERVED
    stated = any(word in plain for word in ("alloc", "active"))
    return Reading.ALLOCATED if stated else framework.reading


def _training(
    cells: dict[str, str], shape: ModelShape, assumed: set[str], capacity: float | None
) -> Training:
    framework = framework_of(cells.get("source") or "", cells.get("notes") or "")
    notes = (cells.get("notes") or "").lower()
    method = (cells.get("method") or "").lower()
    full = method.startswith("full")
    devices = int(number_of(cells, "gpus") or 1)
    anatomy = _held_anatomy(shape, framework)
    weights, compute = _format(cells, framework, assumed)
    embeddings = anatomy.embedding_count + anatomy.vocabulary * anatomy.hidden
    objective = _objective(cells.get("technique") or "")
    longest = ALPACA_LENGTH if "alpaca" in notes else LENGTH
    length = _or(number_of(cells, "seq_len"), longest, "length", assumed)
    if "real lengths" in notes:
        assumed.add("length")
    # A packed row has no padding; on its own, neither has a single row.
    batch = _or(number_of(cells, "micro_batch"), BATCH, "batch", assumed)
    rank, targets = _adapter(cells, framework, assumed) if not full else (0, ())
    learning = number_of(cells, "trainable_params")
    if learning and rank:
        assumed.discard("rank")
        assumed.discard("targets")
    return Training(
        anatomy=anatomy,
        tuning=Tuning.FULL if full else Tuning.DORA if "dora" in method else Tuning.LORA,
        weights=weights,
        micro_batch_size=int(batch),
        token_count=int(length),
        rank=rank,
        targets=targets,
        trainable_count=int(learning) if learning and not full else None,
        trained_embedding_count=embeddings if "emb" in method else 0,
        compute_bytes=compute,
        autocast=_is_mixed(cells, framework),
        adapter_bytes=framework.adapter_bytes,
        trainable_bytes=_trainable_bytes(cells),
        upcast="baseline-peft-bnb" in notes and devices == 1,
        objective=objective,
        rollout=_rollout(objective, int(length), capacity),
        optimizer=_optimizer(cells, framework, assumed),
        loss=_loss(cells, framework, assumed),
        attention=_attention(cells.get("attention") or ""),
        cached_position_count=shape.context_length if _caches_factors(shape, framework) else 0,
        repeats_keys=framework.repeats_keys or (batch > 1 and "packed" not in notes),
        checkpointing=_checkpointing(cells, framework, devices, assumed),
        compiled="compile" in notes or ("each step added" in notes and "chunked" in notes),
        device_count=devices,
        sharding=_sharding(cells, framework, devices),
        offload=_offload(cells) or (framework.offload if batch else frozenset()),
        library=framework.library,
    )


def _held_anatomy(shape: ModelShape, framework: Framework) -> Anatomy:
    anatomy = read_anatomy(shape)
    if not (framework.unties and anatomy.tied):
        return anatomy
    count = anatomy.parameter_count + anatomy.embedding_count
    return replace(anatomy, tied=False, parameter_count=count)


def _caches_factors(shape: ModelShape, framework: Framework) -> bool:
    name = plain_name(shape.id)
    return framework.library == "transformers-4" and ("mistral" in name or "mixtral" in name)


def _worst(training: Training, assumed: set[str]) -> Training:
    """Return what runs with everything that is not said at its worst."""
    changes: dict[str, Any] = {}
    if "checkpointing" in assumed:
        changes |= {"checkpointing": False, "offload": frozenset()}
    if "loss" in assumed:
        changes["loss"] = Loss.FULL
    if "optimizer" in assumed and training.full:
        changes |= {"optimizer": Optimizer.ADAMW_FOREACH, "trainable_bytes": 4}
    if "length" in assumed:
        changes["token_count"] = 4 * training.token_count
    if "batch" in assumed:
        changes["micro_batch_size"] = 4 * training.micro_batch_size
    if "rank" in assumed:
        changes["rank"] = max(training.rank, 64)
    if "targets" in assumed:
        changes["targets"] = ALL_LINEAR
    if "format" in assumed and training.weights is Format.BFLOAT16:
        changes["weights"] = Format.FLOAT32
    return replace(training, **changes)


def _or(value: float | None, default: float, name: str, assumed: set[str]) -> float:
    if value:
        return value
    assumed.add(name)
    return default


def _format(cells: dict[str, str], framework: Framework, assumed: set[str]) -> tuple[Format, int]:
    text = (cells.get("weight_precision") or "").lower()
    quantised = "qlora" in (cells.get("method") or "").lower()
    if not text:
        assumed.add("format")
    if "gptq" in text:
        return Format.GPTQ, 2
    if quantised or "nf4" in text or "4-bit" in text:
        double = framework.doubles_scales or "dq" in text or "double" in text
        return (Format.NF4_DOUBLE if double else Format.NF4), 2
    if "8-bit" in text or "int8" in text:
        return Format.INT8, 2
    if "32" in text:
        return Format.FLOAT32, 2 if "16" in text else 4
    # What says nothing is loaded as Transformers did before version 5.
    return (Format.BFLOAT16 if text else Format.FLOAT32), 2


def _is_mixed(cells: dict[str, str], framework: Framework) -> bool:
    """Return whether passes run under mixed precision.

    In float16, adapters of 4-bit weights stay outside it: they keep what they read in float32.
    """
    if "mixed" in (cells.get("weight_precision") or ""):
        return True
    quantised = (cells.get("method") or "").startswith("qlora")
    return framework.autocast and not (quantised and "fp16 comp" in (cells.get("notes") or ""))


def _peak_bytes(cells: dict[str, str]) -> float | None:
    """Return the measured peak of one device, from whichever columns say it."""
    if peak := number_of(cells, "peak_mem_GB_per_gpu"):
        return peak * GB
    peak = number_of(cells, "peak_mem")
    if peak is None:
        return None
    unit = (cells.get("unit") or "GB").strip().lower()
    size = peak * {"b": 1, "mb": 10**6, "mib": 2**20, "gib": 2**30}.get(unit, GB)
    shared = (cells.get("scope") or "").startswith(("sum", "total"))
    return size / (number_of(cells, "gpus") or 1) if shared else size


def _trainable_bytes(cells: dict[str, str]) -> int:
    text = f"{cells.get('weight_precision') or ''} {cells.get('optimizer') or ''}".lower()
    if "fp32 flat" in text or "32" in (cells.get("weight_precision") or ""):
        return 4
    return 2 if "bf16" in text or "16-bit" in text else 4


def _adapter(
    cells: dict[str, str], framework: Framework, assumed: set[str]
) -> tuple[int, tuple[str, ...]]:
    rank = int(_or(number_of(cells, "lora_rank"), framework.rank, "rank", assumed))
    text = (cells.get("lora_targets") or "").lower()
    if not text:
        assumed.add("targets")
        return rank, framework.targets
    names = [MODULES[name] for name in re.split(r"[^a-z]+", text) if name in MODULES]
    return rank, tuple(names) or ALL_LINEAR


def _objective(technique: str) -> Objective:
    plain = technique.lower()
    if plain.startswith("dpo"):
        return Objective.PREFERENCE
    if plain.startswith(("reward", "rm")):
        return Objective.REWARD_MODEL
    return Objective.ONLINE if plain.startswith(("grpo", "rl")) else Objective.SFT


def _rollout(objective: Objective, length: int, capacity: float | None) -> Rollout | None:
    if objective is not Objective.ONLINE:
        return None
    return Rollout(length // 2, length // 2, engine_bytes=int(ENGINE_SHARE * (capacity or 0)))


def _optimizer(cells: dict[str, str], framework: Framework, assumed: set[str]) -> Optimizer:
    text = (cells.get("optimizer") or "").lower()
    if not text:
        if (cells.get("method") or "").startswith("full"):
            assumed.add("optimizer")
            if framework.full_alone and (number_of(cells, "gpus") or 1) == 1:
                return framework.full_alone
        return framework.optimizer
    if "backward" in text:
        return Optimizer.ADAMW_8BIT_IN_BACKWARD if "8" in text else Optimizer.ADAMW_IN_BACKWARD
    if "paged" in text:
        return Optimizer.ADAMW_PAGED
    if "8bit" in text or "8-bit" in text:
        return Optimizer.ADAMW_8BIT
    if "fused" in text:
        return Optimizer.ADAMW_FUSED
    if "adamw_torch" in text or "torch.adamw" in text:
        return Optimizer.ADAMW_FOREACH
    return framework.optimizer


def _loss(cells: dict[str, str], framework: Framework, assumed: set[str]) -> Loss:
    text = (cells.get("loss_kernel") or "").lower()
    if not text:
        assumed.add("loss")
        return framework.loss
    if "liger" in text or "cut" in text or framework.loss is Loss.LINEAR:
        return Loss.LINEAR
    if "chunk" in text:
        held = framework.loss is Loss.HELD_CHUNKS
        return Loss.HELD_CHUNKS if held else Loss.CHUNKED
    return Loss.FUSED if "unsloth" in text or "fast" in text else Loss.FULL


def _attention(text: str) -> Attention:
    if "eager" in text:
        return Attention.EAGER
    return Attention.FLASH if "flash" in text else Attention.SDPA


def _checkpointing(
    cells: dict[str, str], framework: Framework, devices: int, assumed: set[str]
) -> bool:
    said = fact_of(cells, "grad_checkpointing")
    if said is None:
        assumed.add("checkpointing")
        return framework.checkpoints_alone or devices > 1
    return said


def _sharding(cells: dict[str, str], framework: Framework, devices: int) -> Sharding:
    text = (cells.get("sharding") or "").lower().replace("-", "").replace(" ", "")
    if devices < 2 or text in ("none", "ddp"):
        return Sharding.DDP if devices > 1 else Sharding.NONE
    for stage, sharding in zip(
        "123", (Sharding.ZERO_1, Sharding.ZERO_2, Sharding.ZERO_3), strict=True
    ):
        if f"zero{stage}" in text:
            return sharding
    if "fsdp" in text or "shard" in text:
        return Sharding.FSDP
    return Sharding.TENSOR if text.startswith("tp") else framework.sharding


def _offload(cells: dict[str, str]) -> frozenset[Offload]:
    text = (cells.get("offload") or "").lower()
    found = set()
    if "activation" in text or "offloaded" in (cells.get("grad_checkpointing") or ""):
        found.add(Offload.ACTIVATIONS)
    if "optimizer" in text or "deepspeed" in text:
        found.add(Offload.OPTIMIZER)
    if "param" in text or "deepspeed" in text or text.strip() == "cpu":
        found.add(Offload.PARAMETERS)
    return frozenset(found)
