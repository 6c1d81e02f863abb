"""Where a plan would run: layout, a memory bar against what the device offers, the alternatives."""

from __future__ import annotations

from attune.spec.v1 import compute_pb2

from cli.views.figures import money, number, seconds_of, size, span, words
from cli.views.screen import Screen

CELLS = 40
"""Of a memory bar."""
TITLE_WIDTH = 23
SIZE_WIDTH = 10


def show_placement(screen: Screen, compute: compute_pb2.ComputePlan) -> None:
    """Write every stage of a plan's hardware, then what it comes to."""
    for stage in compute.stages:
        _show_stage(screen, stage, len(compute.stages))
    screen.say()
    total = f"{span(seconds_of(compute.expected_duration))}, {money(compute.cost_micro_usd)}; "
    screen.facts(
        [
            ("In all", total + ("can run now" if compute.available else "cannot run now")),
            *(("Missing", missing) for missing in compute.missing),
        ]
    )


def _show_stage(screen: Screen, stage: compute_pb2.StageCompute, stage_count: int) -> None:
    plan = stage.parallel_plan
    screen.heading(f"Stage {stage.stage_index + 1} of {stage_count}")
    rows = "row" if plan.micro_batch_size == 1 else "rows"
    devices = "device" if stage.device_count == 1 else "devices"
    batch = (
        f"{number(plan.micro_batch_size)} {rows} at once x "
        f"{number(plan.gradient_accumulation_steps)} accumulated x "
        f"{number(stage.device_count)} {devices}"
    )
    again = "yes, activations are computed again" if plan.gradient_checkpointing else "no"
    screen.facts(
        [
            ("profile", stage.profile),
            ("devices", number(stage.device_count)),
            ("batch", batch),
            ("checkpointing", again),
            ("precision", words(_name(plan, "Precision", plan.precision), "PRECISION_")),
            ("sharding", words(_name(plan, "Sharding", plan.sharding), "SHARDING_")),
            ("step", f"{span(seconds_of(stage.step_duration))}, {number(stage.step_count)} times"),
            ("time", span(seconds_of(stage.expected_duration))),
            ("cost", money(stage.cost_micro_usd)),
            ("why", stage.reason),
        ]
    )
    _show_memory(screen, stage.memory)
    if stage.rejected_placements:
        _show_rejected(screen, stage)


def _show_rejected(screen: Screen, stage: compute_pb2.StageCompute) -> None:
    screen.heading("Not chosen")
    rows = [
        (one.profile, money(one.cost_micro_usd) if one.cost_micro_usd else "-", one.reason)
        for one in stage.rejected_placements
    ]
    names = max(len(name) for name, _, _ in rows)
    costs = max(len(cost) for _, cost, _ in rows)
    for name, cost, reason in rows:
        label = f"{name.ljust(names)}  {cost.rjust(costs)}"
        screen.facts([(label, reason)], len(label) + 2)


def _name(plan: compute_pb2.ParallelPlan, kind: str, value: int) -> str:
    """Return the name of an enum's value; its number where this version does not know it."""
    values = plan.DESCRIPTOR.enum_types_by_name[kind].values_by_number
    return values[value].name if value in values else str(value)


def _show_memory(screen: Screen, memory: compute_pb2.MemoryEstimate) -> None:
    """Write each component where it begins above those before it, then the sum with its bounds."""
    screen.heading(f"Memory of one device, which offers {size(memory.capacity_bytes)}")
    whole, below = max(memory.capacity_bytes, memory.high_bytes, memory.expected_bytes, 1), 0
    for part in memory.components:
        begin = min(round(CELLS * below / whole), CELLS - 1)
        below += part.size_bytes
        end = min(max(round(CELLS * below / whole), begin + 1), CELLS)
        drawn = " " * begin + "█" * (end - begin) if part.size_bytes > 0 else ""
        _row(screen, part.title, size(part.size_bytes), drawn)
    _row(screen, "expected in all", size(memory.expected_bytes), memory_bar(memory))
    screen.say(
        f"  █ low {size(memory.low_bytes)}  ▓ expected {size(memory.expected_bytes)}  "
        f"░ high {size(memory.high_bytes)}  | offered {size(memory.capacity_bytes)}"
    )
    if memory.high_bytes > memory.capacity_bytes:
        over = size(memory.high_bytes - memory.capacity_bytes)
        screen.say(f"  It may need {over} more than there is.", "yellow")


def memory_bar(memory: compute_pb2.MemoryEstimate) -> str:
    """Return a bar: solid to the low bound, dark to the expected, light to the high one.

    What is free is dotted, and a stroke stands where the device's memory ends.
    """
    whole = max(memory.capacity_bytes, memory.high_bytes, memory.expected_bytes, 1)
    bounds = [memory.low_bytes, memory.expected_bytes, memory.high_bytes]
    low, expected, high = (round(CELLS * bound / whole) for bound in bounds)
    # Bounds that fall into one cell are still told apart.
    expected = max(expected, low + 1 if memory.expected_bytes > memory.low_bytes else low)
    high = max(high, expected + 1 if memory.high_bytes > memory.expected_bytes else expected)
    drawn = ("█" * low + "▓" * (expected - low) + "░" * (high - expected)).ljust(CELLS, "·")
    drawn = drawn[: max(CELLS, high)]
    if memory.high_bytes > memory.capacity_bytes:
        end = round(CELLS * memory.capacity_bytes / whole)
        return drawn[:end] + "|" + drawn[end:CELLS]
    return drawn[:CELLS] + "|"


def _row(screen: Screen, title: str, amount: str, drawn: str) -> None:
    short = title if len(title) <= TITLE_WIDTH else title[: TITLE_WIDTH - 1].rstrip() + "…"
    screen.say(f"  {short.ljust(TITLE_WIDTH)}{amount.rjust(SIZE_WIDTH)}  {drawn}".rstrip())
