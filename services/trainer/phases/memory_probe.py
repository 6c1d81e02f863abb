"""Part of VALIDATE: two steps at the longest rows, thrown away, to see whether memory is enough."""

from __future__ import annotations

import importlib
import shutil
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from attune.spec.v1.compute_pb2 import MemoryEstimate, ParallelPlan

from services.trainer.attempt import PROBE
from services.trainer.models.base_models import read_shape
from services.trainer.phases.train import longest_count, plan_of
from services.trainer.recipes import RECIPES
from services.trainer.recipes.processor import left_as_found
from services.trainer.recipes.training import Resolved, Train, Training
from services.trainer.runtime.run_context import RunContext

STEPS = 2
"""The first makes the optimizer's states, the second has them beside all else."""
PASSES_MAX = 2
"""Passes that are accumulated; more of them take more time and no more memory."""
SPARE_SHARE = 0.5
"""Share of a processor's memory that an estimate may take without being tried: it may err by a
factor of two, and the machine pages before it fails."""
SMALL_PARAMETERS = 64_000_000
"""Without an estimate, models with no more values than this are not tried on a processor."""


class _Enough(Exception):
    """The probe has seen what it is for."""


class _Probe:
    """The observer of a probe: keeps nothing, and stops before a checkpoint is written."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def on_resolved(self, resolved: Resolved) -> None:
        self._context.check()

    def on_start(self, step: int, eval_losses: Mapping[int, float]) -> None:
        self._context.check()

    def on_step(self, step: int) -> None:
        self._context.check()
        if step >= STEPS:
            raise _Enough

    def on_metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._context.check()

    def on_samples(self, step: int, answers: Sequence[Sequence[int]]) -> None:
        self._context.check()

    def on_checkpoint(self, step: int, folder: Path) -> None:
        raise _Enough

    def wants_checkpoint(self) -> bool:
        return False

    def is_enough(self) -> bool:
        return True


def probe_memory(context: RunContext) -> int:
    """Do two steps with the approved layout at the longest rows, unless memory is plenty.

    Returns:
        The highest use of memory, in bytes; 0 when it was not tried.

    Raises:
        MemoryError, torch.OutOfMemoryError: If memory is not enough; the run ends so that the
            scheduler finds a larger plan.
    """
    if context.device_count > 1:
        return 0  # One process of several holds another share of the model than when they train.
    shape = read_shape(context.model_folder)
    if not is_needed(
        context.memory, shape.parameter_count if shape else 0, use_cuda=context.use_cuda
    ):
        return 0
    scratch = context.attempt.folder / PROBE
    training = probe_of(plan_of(context, scratch, None))
    context.longest_count = longest_count(training)
    recipe: Train = importlib.import_module(RECIPES[context.stage.technique]).train
    # Whoever finds this process killed for lack of memory sees by the folder what it was at.
    scratch.mkdir(exist_ok=True)
    with left_as_found():
        try:
            recipe(training, _Probe(context))
        except _Enough as enough:
            # Its frames hold the model and the optimizer.
            traceback.clear_frames(enough.__traceback__)
    shutil.rmtree(scratch, ignore_errors=True)
    return context.peak_bytes


def is_needed(memory: MemoryEstimate, parameter_count: int, *, use_cuda: bool) -> bool:
    """Return whether to try, which costs the loading of the model and two steps.

    Args:
        memory: What the scheduler reckons with; empty when it said nothing.
        parameter_count: Of the base model.
        use_cuda: Whether a GPU computes; there an error costs a whole lease, and a try seconds.
    """
    if use_cuda:
        return True
    if memory.capacity_bytes < 1 or memory.high_bytes < 1:
        return parameter_count > SMALL_PARAMETERS
    return memory.high_bytes > SPARE_SHARE * memory.capacity_bytes


def _no_reward(lines: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float | None]:
    """Reward nothing: what a judge costs is not spent on answers that are thrown away."""
    return [0.0 for _ in answers]


def probe_of(training: Training) -> Training:
    """Return two steps of a stage, each pass as long as its longest row makes one."""
    size = training.plan.micro_batch_size
    passes = training.plan.gradient_accumulation_steps
    if training.reward is None:  # Else answers are sampled for a whole step, in groups.
        passes = min(PASSES_MAX, passes)
    ordered = sorted(training.train, key=lambda one: one.length, reverse=True)
    longest = ordered[:size]
    count = STEPS * passes * size
    plan = ParallelPlan()
    plan.CopyFrom(training.plan)
    plan.gradient_accumulation_steps = passes
    return replace(
        training,
        plan=plan,
        train=[longest[index % len(longest)] for index in range(count)],
        validation=training.validation[:1],
        samples=(),
        reward=None if training.reward is None else _no_reward,
        resume_from=None,
        # One more than are done, so that the end with its evaluation and checkpoint never comes.
        steps_total=STEPS + 1,
        evaluation_steps=STEPS + 1,
        logging_steps=1,
        warmup_steps=0,
    )
