"""Maps a spec to a device: the cheapest that fits, with reasons; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attune.scheduler.v1.worker_pb2 import Node
from attune.spec.v1.spec_pb2 import Spec
from attune.spec.v1.stage_pb2 import Method

from services.scheduler.demand import Demand
from services.scheduler.memory import Layout, MemoryEstimate, estimate_memory
from services.scheduler.node import unmet
from services.scheduler.profile import Profile
from services.scheduler.retry import avoids, worth_trying
from services.scheduler.runtime import Batching, TimeEstimate, estimate_time

MICRO_BATCH_MAX = 64
"""Rows of one pass; more make no step faster."""
REJECTED_MAX = 20
PATIENCE_S = 24 * 3600.0
"""A device that nobody has is proposed only if it is done by then, where one exists that is."""
NO_TRAINER = "No trainer is connected; start one with `attune up`."
GIB = 1024**3


@dataclass(frozen=True)
class Placement:
    """A stage on one device."""

    profile: Profile
    capacity_bytes: int
    batching: Batching
    memory: MemoryEstimate
    time: TimeEstimate

    @property
    def fits(self) -> bool:
        """Whether even the high estimate of memory is there."""
        return self.memory.high_bytes <= self.capacity_bytes

    @property
    def cost_micro_usd(self) -> int:
        """Expected cost in millionths of a US dollar."""
        return round(self.time.expected_s / 3600 * self.profile.price_micro_usd_per_hour)


@dataclass(frozen=True)
class Obstacle:
    """Why a placement may not be used."""

    problem: str
    remedy: str

    def __str__(self) -> str:
        """Return both as one sentence."""
        return f"{self.problem}; {self.remedy}."


@dataclass(frozen=True)
class Rejected:
    """A profile that was looked at and not chosen."""

    profile: str
    reason: str
    cost_micro_usd: int


@dataclass(frozen=True)
class Plan:
    """Where a spec would run."""

    placement: Placement
    reason: str
    rejected: tuple[Rejected, ...]
    missing: tuple[str, ...]
    """Why no live node can run it, with remedies; empty when one can."""


def make_plan(
    spec: Spec, demand: Demand, nodes: Sequence[Node], profiles: Mapping[str, Profile]
) -> Plan:
    """Return the cheapest placement on live nodes, or, if there is none, of the whole catalogue.

    Args:
        spec: With one stage.
        demand: What it demands.
        nodes: All live nodes.
        profiles: The catalogue, by id; never empty.
    """
    live = [placed for node in nodes if (placed := place_on_node(spec, demand, node, profiles))]
    anywhere = [place(demand, profile, profile.memory_bytes) for profile in profiles.values()]
    missing: list[str] = []
    if live:
        chosen = _cheapest(live)
        reason = f"The cheapest live device that fits: {_figures(chosen)}"
    else:
        chosen = _best_anywhere(anywhere, demand)
        missing = what_is_missing(spec, demand, nodes, profiles)
        reason = f"No live trainer can run it; of all known devices, {_figures(chosen)}"
        if obstacle := find_obstacle(chosen, demand):
            reason = f"No known device fits. {obstacle}"
            missing += [] if str(obstacle) in missing else [str(obstacle)]
    connected = {device.profile for node in nodes for device in node.devices}
    rejected = [
        _reject(placed, chosen, demand, placed.profile.id in connected)
        for placed in anywhere
        if placed.profile.id != chosen.profile.id
    ]
    return Plan(chosen, reason, tuple(rejected[:REJECTED_MAX]), tuple(missing))


def place_on_node(
    spec: Spec, demand: Demand, node: Node, profiles: Mapping[str, Profile]
) -> Placement | None:
    """Return the cheapest placement on one node, or None if it cannot run there."""
    if unmet(spec, node):
        return None
    fitting = [
        placed
        for placed in _on_devices(demand, node, profiles)
        if not find_obstacle(placed, demand)
    ]
    return _cheapest(fitting) if fitting else None


def what_is_missing(
    spec: Spec, demand: Demand, nodes: Sequence[Node], profiles: Mapping[str, Profile]
) -> list[str]:
    """Return why no live node can run a spec, of the node that lacks least; empty if one can.

    Args:
        spec: With one stage.
        demand: What it demands.
        nodes: All live nodes.
        profiles: The catalogue, by id.
    """
    if not nodes:
        return [NO_TRAINER]
    return min((_lacks(spec, demand, node, profiles) for node in nodes), key=len)


def _lacks(spec: Spec, demand: Demand, node: Node, profiles: Mapping[str, Profile]) -> list[str]:
    obstacles = [find_obstacle(on, demand) for on in _on_devices(demand, node, profiles)]
    found = unmet(spec, node)
    # All devices of the node must fail; the largest one says why.
    return found + ([str(obstacles[0])] if all(obstacles) else [])


def _on_devices(demand: Demand, node: Node, profiles: Mapping[str, Profile]) -> list[Placement]:
    """Return a placement on each device of a node, the largest device first."""
    devices = sorted(node.devices, key=lambda device: -device.memory_bytes)
    return [place(demand, profiles[device.profile], device.memory_bytes) for device in devices]


def place(demand: Demand, profile: Profile, capacity_bytes: int) -> Placement:
    """Return the fastest layout that fits a device, or else the one that needs least memory.

    The effective batch is kept exactly: a micro-batch is one of its divisors, and accumulation is
    the rest.
    """
    placements = [
        _lay_out(demand, profile, capacity_bytes, size, checkpointing)
        for size in _divisors(demand.workload.effective_batch_size)
        for checkpointing in (False, True)
    ]
    fitting = worth_trying([placed for placed in placements if placed.fits], demand.failed)
    if fitting:
        return min(fitting, key=lambda placed: placed.time.expected_s)
    return min(placements, key=lambda placed: placed.memory.high_bytes)


def _lay_out(
    demand: Demand, profile: Profile, capacity_bytes: int, size: int, checkpointing: bool
) -> Placement:
    workload = demand.workload
    batching = Batching(size, workload.effective_batch_size // size, checkpointing)
    layout = Layout(
        size,
        workload.max_token_count,
        checkpointing,
        accumulates=batching.gradient_accumulation_steps > 1,
        objective=demand.objective,
    )
    memory = estimate_memory(
        demand.shape, demand.method, demand.rank, demand.target_modules, profile, layout
    )
    return Placement(
        profile=profile,
        capacity_bytes=capacity_bytes,
        batching=batching,
        memory=demand.lessons.correct(memory, profile),
        time=estimate_time(demand.shape, demand.method, profile, workload, batching),
    )


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, min(number, MICRO_BATCH_MAX) + 1) if number % size == 0]


def find_obstacle(placed: Placement, demand: Demand) -> Obstacle | None:
    """Return why a placement may not be used, or None if it may."""
    title, expected_s = placed.profile.title, placed.time.expected_s
    if demand.method == Method.METHOD_QLORA and not placed.profile.is_gpu:
        return Obstacle(f"4-bit weights need a GPU, which {title} is not", "choose LORA")
    if not placed.fits:
        return Obstacle(
            f"It needs up to {_gib(placed.memory.high_bytes)} of memory and {title} offers "
            f"{_gib(placed.capacity_bytes)}",
            "choose a smaller base model or a shorter max_length, or connect a larger device",
        )
    if not avoids(placed, demand.failed):
        return Obstacle(
            f"It ran out of memory on {title}, and no layout there needs less",
            "choose a smaller base model or a shorter max_length, or connect a larger device",
        )
    if demand.deadline_s is not None and expected_s > demand.deadline_s:
        return Obstacle(
            f"It takes about {in_words(expected_s)} on {title} and the deadline is "
            f"{in_words(demand.deadline_s)}",
            "extend limits.deadline or train fewer epochs",
        )
    cap = demand.cost_cap_micro_usd
    if cap is not None and placed.cost_micro_usd > cap:
        return Obstacle(
            f"It costs {_usd(placed.cost_micro_usd)} on {title} and the cap is {_usd(cap)}",
            "raise limits.cost_cap_micro_usd or train fewer epochs",
        )
    return None


def _cheapest(placements: Sequence[Placement]) -> Placement:
    return min(placements, key=lambda placed: (placed.cost_micro_usd, placed.time.expected_s))


def _best_anywhere(placements: Sequence[Placement], demand: Demand) -> Placement:
    usable = [placed for placed in placements if not find_obstacle(placed, demand)]
    soon = [placed for placed in usable if placed.time.expected_s <= PATIENCE_S]
    if usable:
        return _cheapest(soon or usable)
    return max(placements, key=lambda placed: placed.capacity_bytes)


def _reject(placed: Placement, chosen: Placement, demand: Demand, connected: bool) -> Rejected:
    if obstacle := find_obstacle(placed, demand):
        cost = placed.cost_micro_usd if placed.fits else 0
        return Rejected(placed.profile.id, f"{obstacle.problem}.", cost)
    dearer = placed.cost_micro_usd > chosen.cost_micro_usd
    reason = (
        f"{'' if connected else 'No live trainer has one. '}It "
        f"{'costs more' if dearer else 'takes longer'}: about "
        f"{in_words(placed.time.expected_s)} and {_usd(placed.cost_micro_usd)}."
    )
    return Rejected(placed.profile.id, reason, placed.cost_micro_usd)


def _figures(placed: Placement) -> str:
    batching = placed.batching
    return (
        f"{placed.profile.title} needs up to {_gib(placed.memory.high_bytes)} of "
        f"{_gib(placed.capacity_bytes)}, about {in_words(placed.time.expected_s)} and "
        f"{_usd(placed.cost_micro_usd)}; micro-batches of {batching.micro_batch_size} x "
        f"{batching.gradient_accumulation_steps} keep the effective batch."
    )


def in_words(seconds: float) -> str:
    """Return a time as a person would say it, such as `3 min`."""
    for limit_s, unit_s, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"


def _usd(micro_usd: int) -> str:
    if 0 < micro_usd < 10_000:
        return "less than $0.01"
    return f"${micro_usd / 1e6:,.2f}"
