"""Puts the parts together: the moment that holds most, its components and their bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.stage_pb2 import Method

from services.scheduler.memory.activations import Activations, activations
from services.scheduler.memory.anatomy import Anatomy, read_anatomy
from services.scheduler.memory.library import Library, Spreads, read_table
from services.scheduler.memory.training import (
    Format,
    Loss,
    Objective,
    Offload,
    Rollout,
    Sharding,
    Training,
    Tuning,
)
from services.scheduler.memory.weights import States, states
from services.scheduler.profile import PRECISION_BYTES, Profile

RUNTIME_CPU_BYTES = 900_000_000
"""Resident memory of a run that has torch, transformers, PEFT and TRL imported."""
RUNTIME_SPREAD = 0.15
"""Share by which the runtime of a process differs between machines."""
TUNINGS = {
    Method.METHOD_FULL: Tuning.FULL,
    Method.METHOD_LORA: Tuning.LORA,
    Method.METHOD_QLORA: Tuning.LORA,
    Method.METHOD_DORA: Tuning.DORA,
}


@dataclass(frozen=True)
class Layout:
    """What one forward and backward pass holds at once."""

    micro_batch_size: int
    """Rows, at least 1."""
    max_token_count: int
    """Tokens of the longest row, at least 1."""
    gradient_checkpointing: bool
    accumulates: bool = False
    """Whether gradients live through more than one pass."""
    objective: Objective = Objective.SFT
    rollout: Rollout | None = None
    """How answers are generated, in online learning."""
    device_count: int = 1
    """Devices that share the rows of a step."""
    sharded: bool = False
    """Whether they split weights and states as well (FSDP)."""


@dataclass(frozen=True)
class Component:
    """One part of the estimate."""

    title: str
    size_bytes: int


@dataclass(frozen=True)
class Range:
    """A quantity with its bounds, in bytes."""

    low_bytes: int
    expected_bytes: int
    high_bytes: int


@dataclass(frozen=True)
class MemoryEstimate:
    """Predicted peak memory of one device, in bytes."""

    components: tuple[Component, ...]
    """Largest first."""
    allocated: Range
    """What torch reports as the peak of what tensors hold."""
    reserved: Range
    """What torch's allocator then has taken; more than it needs, as it returns little."""
    process: Range
    """What the process then holds, as nvidia-smi shows it: with the context."""
    needed: Range
    """What must be there: the sum of the components. The allocator gives back its slack before it
    fails, so that slack is not in it; the context is."""
    uncorrected_bytes: int | None = None
    """What the formula expects to be needed, where observed runs corrected it."""
    note: str = ""
    """How it was corrected, as a sentence; empty when it is the formula's."""

    @property
    def expected_bytes(self) -> int:
        """The sum of the components."""
        return self.needed.expected_bytes

    @property
    def formula_bytes(self) -> int:
        """What the formula alone expects."""
        found = self.uncorrected_bytes
        return self.needed.expected_bytes if found is None else found

    @property
    def low_bytes(self) -> int:
        """What it is unlikely to be below."""
        return self.needed.low_bytes

    @property
    def high_bytes(self) -> int:
        """What placement reckons with."""
        return self.needed.high_bytes


def estimate_memory(
    shape: ModelShape,
    method: Method.ValueType,
    rank: int,
    target_modules: list[str],
    profile: Profile,
    layout: Layout,
) -> MemoryEstimate:
    """Return the peak memory of a training step as the trainer runs it.

    Args:
        shape: Of the base model.
        method: Which weights are changed.
        rank: Of the adapter; without meaning for full fine-tuning.
        target_modules: Of the adapter; likewise.
        profile: Says the number format and what the runtime takes.
        layout: What one pass holds.
    """
    return _supervised(
        read_anatomy(shape),
        method,
        rank,
        tuple(target_modules),
        PRECISION_BYTES[profile.precision],
        profile.is_gpu,
        layout,
    )


@lru_cache(maxsize=4096)
def _supervised(
    anatomy: Anatomy,
    method: Method.ValueType,
    rank: int,
    targets: tuple[str, ...],
    size: int,
    is_gpu: bool,
    layout: Layout,
) -> MemoryEstimate:
    """Do the work of `estimate_memory`; placement asks for the same many times over."""
    if method == Method.METHOD_QLORA:
        held = Format.NF4_DOUBLE
    else:
        held = Format.BFLOAT16 if size == 2 else Format.FLOAT32
    training = Training(
        anatomy=anatomy,
        tuning=TUNINGS.get(method, Tuning.LORA),
        weights=held,
        micro_batch_size=layout.micro_batch_size,
        token_count=layout.max_token_count,
        rank=rank,
        targets=targets,
        # An adapter of 4-bit weights is kept in bfloat16 by trl.
        adapter_bytes=2 if method == Method.METHOD_QLORA else 4,
        adapter_dropout=True,
        compute_bytes=size,
        autocast=size == 2,
        repeats_keys=layout.micro_batch_size > 1 or layout.objective is not Objective.SFT,
        checkpointing=layout.gradient_checkpointing,
        accumulates=layout.accumulates,
        objective=layout.objective,
        rollout=layout.rollout,
        device_count=layout.device_count,
        sharding=_sharding(layout),
        is_gpu=is_gpu,
    )
    return predict(training)


def _sharding(layout: Layout) -> Sharding:
    if layout.device_count == 1:
        return Sharding.NONE
    return Sharding.FSDP if layout.sharded else Sharding.DDP


def predict(training: Training) -> MemoryEstimate:
    """Return the peak memory of one device.

    Raises:
        KeyError: If the table has no such library.
    """
    libraries, spreads = read_table()
    library = libraries[training.library]
    kept, passing = states(training, library), activations(training, library)
    parts = max(_moments(training, library, kept, passing), key=lambda each: sum(each.values()))
    allocated = _bounds(parts, spreads)
    context = int(library.context_bytes) if training.is_gpu else RUNTIME_CPU_BYTES
    reserved, process = _beyond(allocated, _slack(training, library, passing), context, spreads)
    parts["runtime"] = context
    components = [Component(title, round(size)) for title, size in parts.items() if size]
    components.sort(key=lambda part: -part.size_bytes)
    expected = sum(component.size_bytes for component in components)
    rest = expected - allocated.expected_bytes
    off = round(RUNTIME_SPREAD * rest)
    return MemoryEstimate(
        components=tuple(components),
        allocated=allocated,
        reserved=reserved,
        process=process,
        needed=Range(allocated.low_bytes + rest - off, expected, allocated.high_bytes + rest + off),
    )


def _moments(
    training: Training, library: Library, kept: States, passing: Activations
) -> list[dict[str, float]]:
    """Return the moments of a step that may hold most, each as its parts."""
    learns = "optimizer and gradients" if training.full else "adapter and optimizer"
    stays = kept.adapter + kept.moments
    carried = kept.gradients if training.accumulates else 0.0
    engine = _engine(training)
    held = {
        "weights": kept.weights + kept.buffers,
        "reference model": kept.reference,
        "rollout engine": engine,
    }
    first = max(carried, kept.first_gradients)
    head = {
        **held,
        learns: stays + carried,
        "activations": passing.stored,
        "logits": passing.logits,
        "gathered weights": kept.root + (kept.layer if library.keeps_gathered else 0.0),
        "cast weights": kept.cast,
    }
    backward = {
        **held,
        learns: stays + first,
        "activations": passing.stored + passing.working,
        "gathered weights": kept.root + kept.layer,
        "cast weights": kept.cast,
    }
    last = {
        **held,
        learns: stays + kept.late_gradients,
        "activations": passing.layer,
        "gathered weights": kept.root + kept.layer,
    }
    step = {**held, learns: stays + kept.gradients + kept.step}
    moments = [head, backward, step]
    if not training.is_sharded:
        moments.append(last)
    if training.rollout is not None:
        moments.append(_generation(training, training.rollout, kept, learns))
    return moments


def _engine(training: Training) -> float:
    rollout = training.rollout
    return 0.0 if rollout is None or rollout.engine_sleeps else float(rollout.engine_bytes)


def _generation(
    training: Training, rollout: Rollout, kept: States, learns: str
) -> dict[str, float]:
    """Return what is held while answers are written."""
    parts = {
        "weights": kept.weights + kept.buffers,
        "reference model": kept.reference,
        learns: kept.adapter + kept.moments,
        "rollout engine": float(rollout.engine_bytes),
        "gathered weights": kept.root + kept.layer,
    }
    if not rollout.engine_bytes:
        tokens = rollout.prompt_token_count + rollout.completion_token_count
        parts["key-value cache"] = float(cache_bytes(training, tokens) * rollout.concurrent_count)
    return parts


def cache_bytes(training: Training, token_count: int) -> int:
    """Return the keys and values of one sequence, in bytes."""
    anatomy = training.anatomy
    return 2 * training.compute_bytes * anatomy.layer_count * anatomy.key * token_count


def _bounds(parts: dict[str, float], spreads: Spreads) -> Range:
    """Return the sum of the parts between its bounds."""
    expected = sum(parts.values())
    shares = {
        "activations": spreads.activations,
        "logits": spreads.logits,
        "gathered weights": spreads.gathered,
        "cast weights": spreads.gathered,
    }
    fixed = min(spreads.fixed_bytes, spreads.activations * expected)
    off = fixed + sum(size * shares.get(title, spreads.states) for title, size in parts.items())
    off = min(off, spreads.largest * expected)
    return Range(round(expected - off), round(expected), round(expected + off))


def _slack(training: Training, library: Library, passing: Activations) -> float:
    """Return what the allocator takes beyond the peak of its tensors, in bytes."""
    if training.loss in (Loss.LINEAR, Loss.CHUNKED):
        share = library.slack_sparing
    else:
        share = library.slack_fused if training.loss is Loss.FUSED else library.slack_full
    if training.is_sharded:
        share += library.slack_sharded
    stored = 0.0 if Offload.ACTIVATIONS in training.offload else passing.stored
    return share * (stored + max(passing.working, passing.logits))


def _beyond(allocated: Range, slack: float, context: int, spreads: Spreads) -> tuple[Range, Range]:
    """Return what the allocator reserves and what the process holds."""
    off = spreads.slack * slack
    reserved = Range(
        round(allocated.low_bytes + slack - off),
        round(allocated.expected_bytes + slack),
        round(allocated.high_bytes + slack + off),
    )
    return reserved, replace(
        reserved,
        low_bytes=reserved.low_bytes + context // 2,
        expected_bytes=reserved.expected_bytes + context,
        high_bytes=reserved.high_bytes + context * 3 // 2,
    )
