"""The inferred hardware: where, memory by component, time, cost, and what was rejected."""

from __future__ import annotations

from attune.spec.v1 import compute_pb2

from cli.views.figures import bar, money, number, seconds_of, size, span, words
from cli.views.screen import Screen


def show_compute(screen: Screen, compute: compute_pb2.ComputePlan) -> None:
    """Write the compute block of a plan."""
    screen.heading("Compute, inferred")
    if not compute.stages:
        screen.say("  not estimated yet")
    for stage in compute.stages:
        _show_stage(screen, stage)
    total_s = seconds_of(compute.expected_duration)
    available = "can run now" if compute.available else "cannot run now"
    screen.say(f"  In all: {span(total_s)}, {money(compute.cost_micro_usd)}; {available}.")
    for missing in compute.missing:
        screen.say(f"  Missing: {missing}", "yellow")


def _show_stage(screen: Screen, stage: compute_pb2.StageCompute) -> None:
    plan = stage.parallel_plan
    precision = words(compute_pb2.ParallelPlan.Precision.Name(plan.precision), "PRECISION_")
    sharding = words(compute_pb2.ParallelPlan.Sharding.Name(plan.sharding), "SHARDING_")
    batch = (
        f"{number(plan.micro_batch_size)} rows at once x "
        f"{number(plan.gradient_accumulation_steps)} accumulated x "
        f"{number(stage.device_count)} devices"
    )
    steps = f"{number(stage.step_count)} of {span(seconds_of(stage.step_duration))} each"
    screen.table(
        ("", ""),
        [
            (f"  stage {stage.stage_index + 1}", f"{stage.device_count} x {stage.profile}"),
            ("  why", stage.reason),
            ("  batch", batch),
            ("  precision", precision),
            ("  sharding", sharding),
            ("  checkpointing", "yes" if plan.gradient_checkpointing else "no"),
            ("  steps", steps),
            ("  time", span(seconds_of(stage.expected_duration))),
            ("  cost", money(stage.cost_micro_usd)),
        ],
    )
    _show_memory(screen, stage.memory)
    for rejected in stage.rejected_placements:
        cost = f" ({money(rejected.cost_micro_usd)})" if rejected.cost_micro_usd else ""
        screen.say(f"  not {rejected.profile}{cost}: {rejected.reason}")


def _show_memory(screen: Screen, memory: compute_pb2.MemoryEstimate) -> None:
    screen.say(
        f"  memory: {size(memory.expected_bytes)} expected "
        f"({size(memory.low_bytes)} to {size(memory.high_bytes)}) "
        f"of {size(memory.capacity_bytes)}"
    )
    largest = max((part.size_bytes for part in memory.components), default=0)
    screen.table(
        ("", "", ""),
        [
            (f"    {part.title}", size(part.size_bytes), bar(part.size_bytes, largest))
            for part in memory.components
        ],
    )
