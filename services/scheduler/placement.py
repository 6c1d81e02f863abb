"""Maps the stages of a spec to devices: the cheapest that fit, with reasons; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from attune.scheduler.v1.worker_pb2 import Node
from attune.spec.v1.spec_pb2 import Spec
from attune.spec.v1.stage_pb2 import Method

from services.scheduler.demand import Demand
from services.scheduler.layout import (
    Placement,
    avoids,
    cost_and_time,
    counts_of,
    place,
    placements,
    worth_trying,
)
from services.scheduler.node import unmet
from services.scheduler.profile import Profile
from services.scheduler.remedy import LIGHTER, nearest_change
from services.scheduler.words import gib, in_words, usd

REJECTED_MAX = 20
PATIENCE_S = 24 * 3600.0
"""What is not done by then is proposed only where nothing is."""
NO_TRAINER = "No trainer is connected; start one with `attune up`."
UNUSABLE = (
    "An operator describes a kind of device in ATTUNE_SCHEDULER_PROFILES_FILE, or allows it in "
    "ATTUNE_SCHEDULER_ALLOWED_PROFILES."
)
GANG_ENGINE = "ray"
"""The engine that uses several devices for one run."""

Profiles = Mapping[str, Profile]


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
    device_count: int
    reason: str
    cost_micro_usd: int
    """0 when it does not fit."""
    expected_s: float
    """0 when it does not fit."""


@dataclass(frozen=True)
class StagePlan:
    """Where one stage would run."""

    placement: Placement
    reason: str
    rejected: tuple[Rejected, ...]
    missing: tuple[str, ...]
    """Why no live node can run it, with remedies; empty when one can."""


@dataclass(frozen=True)
class Plan:
    """Where a spec would run."""

    stages: tuple[StagePlan, ...]
    """In order, at least one."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Why no live node can run all of it, with remedies, each once; empty when one can."""
        return tuple(dict.fromkeys(text for stage in self.stages for text in stage.missing))

    @property
    def expected_s(self) -> float:
        """Expected time of all stages, one after the other, in seconds."""
        return sum(stage.placement.time.expected_s for stage in self.stages)

    @property
    def cost_micro_usd(self) -> int:
        """Expected cost of all stages in millionths of a US dollar."""
        return sum(stage.placement.cost_micro_usd for stage in self.stages)


def make_plan(
    spec: Spec, demands: Sequence[Demand], nodes: Sequence[Node], profiles: Profiles
) -> Plan:
    """Return the cheapest placement on live nodes, or, if there is none, of the whole catalogue.

    A limit on time or cost is that of all stages together: where the cheapest placements miss it,
    each stage gets the part of it that its own time or cost is of the whole.

    Args:
        spec: The spec.
        demands: Of its stages, at least one.
        nodes: All live nodes.
        profiles: The catalogue, by id; never empty.
    """
    if len(demands) == 1:
        return Plan((_plan_stage(spec, demands[0], nodes, profiles),))
    free = [replace(each, deadline_s=None, cost_cap_micro_usd=None) for each in demands]
    plan = Plan(tuple(_plan_stage(spec, each, nodes, profiles) for each in free))
    first = demands[0]
    late = first.deadline_s is not None and plan.expected_s > first.deadline_s
    cap = first.cost_cap_micro_usd
    if not late and (cap is None or plan.cost_micro_usd <= cap):
        return plan
    parts = [
        replace(
            demand,
            deadline_s=_part(demand.deadline_s, stage.placement.time.expected_s, plan.expected_s),
            cost_cap_micro_usd=None
            if cap is None
            else round(_part(cap, stage.placement.cost_micro_usd, plan.cost_micro_usd) or 0),
        )
        for demand, stage in zip(demands, plan.stages, strict=True)
    ]
    return Plan(tuple(_plan_stage(spec, each, nodes, profiles) for each in parts))


def _part(limit: float | None, own: float, whole: float) -> float | None:
    return None if limit is None else limit * own / whole if whole else limit


def _plan_stage(spec: Spec, demand: Demand, nodes: Sequence[Node], profiles: Profiles) -> StagePlan:
    live = [placed for node in nodes if (placed := place_on_node(spec, demand, node, profiles))]
    anywhere = {
        profile.id: _usable(demand, profile, profile.memory_bytes, counts_of(profile))
        for profile in profiles.values()
    }
    missing: list[str] = []
    if live:
        chosen = _cheapest(live)
        reason = f"The cheapest live device that fits: {_figures(chosen)}"
    else:
        chosen = _best_anywhere(list(anywhere.values()), demand)
        missing = what_is_missing(spec, demand, nodes, profiles)
        reason = f"No live trainer can run it; of all known devices, {_figures(chosen)}"
        if obstacle := find_obstacle(chosen, demand):
            fits = partial(_fits_somewhere, profiles=profiles)
            remedy = nearest_change(demand, LIGHTER, (), fits) if not chosen.fits else ""
            text = f"{obstacle.problem}; {remedy}." if remedy else str(obstacle)
            reason = f"No known device fits. {text}"
            missing += [] if text in missing else [text]
    others = [placed for key, placed in anywhere.items() if key != chosen.profile.id]
    connected = {device.profile for node in nodes for device in node.devices}
    rejected = [
        _reject(placed, chosen, demand, placed.profile.id in connected) for placed in others
    ]
    if not find_obstacle(chosen, demand):
        reason += _otherwise(chosen, others, demand)
    return StagePlan(chosen, reason, tuple(rejected[:REJECTED_MAX]), tuple(missing))


def place_on_node(spec: Spec, demand: Demand, node: Node, profiles: Profiles) -> Placement | None:
    """Return the cheapest placement on one node, or None if it cannot run there."""
    if unmet(spec, demand.stage_index, node):
        return None
    fitting = [
        placed
        for placed in _on_devices(demand, node, profiles)
        if not find_obstacle(placed, demand)
    ]
    return _cheapest(fitting) if fitting else None


def what_is_missing(
    spec: Spec, demand: Demand, nodes: Sequence[Node], profiles: Profiles
) -> list[str]:
    """Return why no live node can run a stage, of the node that lacks least; empty if one can.

    Args:
        spec: The spec.
        demand: Of one of its stages.
        nodes: All live nodes.
        profiles: The catalogue, by id.
    """
    if not nodes:
        return [NO_TRAINER]
    return min((_lacks(spec, demand, node, profiles) for node in nodes), key=len)


def _lacks(spec: Spec, demand: Demand, node: Node, profiles: Profiles) -> list[str]:
    obstacles = [find_obstacle(on, demand) for on in _on_devices(demand, node, profiles)]
    found = unmet(spec, demand.stage_index, node)
    if not obstacles:
        kinds = ", ".join(sorted({device.profile for device in node.devices}))
        return [*found, f"What {node.id} has may not be used: {kinds}. {UNUSABLE}"]
    # All devices of the node must fail; the largest one says why.
    return found + ([str(obstacles[0])] if all(obstacles) else [])


def _on_devices(demand: Demand, node: Node, profiles: Profiles) -> list[Placement]:
    """Return a placement on each kind of device that may be used, the largest device first."""
    kinds: dict[str, list[int]] = {}
    for device in node.devices:
        if device.profile in profiles:
            kinds.setdefault(device.profile, []).append(device.memory_bytes)
    found = []
    for name, sizes in sorted(kinds.items(), key=lambda kind: -max(kind[1])):
        profile = profiles[name]
        alone = place(demand, profile, max(sizes))
        most = len(sizes) if GANG_ENGINE in node.engines else 1
        counts = tuple(count for count in counts_of(profile) if count <= most)
        together = _usable(demand, profile, min(sizes), counts) if len(counts) > 1 else alone
        found.append(alone if not find_obstacle(alone, demand) else together)
    return found


def _usable(
    demand: Demand, profile: Profile, capacity_bytes: int, counts: Sequence[int]
) -> Placement:
    """Return the cheapest placement that nothing speaks against, or else the nearest to one."""
    found = list(placements(demand, profile, capacity_bytes, counts))
    usable = [placed for placed in found if not find_obstacle(placed, demand)]
    if usable := worth_trying(usable, demand.failed):
        return _cheapest(usable)
    if fitting := [placed for placed in found if placed.fits]:
        return min(fitting, key=_time if demand.deadline_s is not None else cost_and_time)
    return min(found, key=lambda placed: placed.memory.high_bytes)


def _cheapest(usable: Sequence[Placement]) -> Placement:
    """Return the cheapest of those that are done soon, or of all when none is."""
    soon = [placed for placed in usable if placed.time.expected_s <= PATIENCE_S]
    return min(soon or usable, key=cost_and_time)


def _time(placed: Placement) -> tuple[float, int]:
    return placed.time.expected_s, placed.cost_micro_usd


def find_obstacle(placed: Placement, demand: Demand) -> Obstacle | None:
    """Return why a placement may not be used, or None if it may."""
    if demand.method == Method.METHOD_QLORA and not placed.profile.is_gpu:
        return Obstacle(f"4-bit weights need a GPU, which {named(placed)} is not", "choose LORA")
    if not placed.fits:
        return Obstacle(
            f"It needs up to {gib(placed.memory.high_bytes)} of memory and {named(placed)} offers "
            f"{gib(placed.capacity_bytes)}",
            "choose a smaller base model or a shorter max_length, or connect a larger device",
        )
    if not avoids(placed, demand.failed):
        return Obstacle(
            f"It ran out of memory on {named(placed)}, and no layout there needs less",
            "choose a smaller base model or a shorter max_length, or connect a larger device",
        )
    if demand.deadline_s is not None and placed.time.expected_s > demand.deadline_s:
        return Obstacle(
            f"It takes about {in_words(placed.time.expected_s)} on {named(placed)} and the "
            f"deadline is {in_words(demand.deadline_s)}",
            "extend limits.deadline or train fewer epochs",
        )
    cap = demand.cost_cap_micro_usd
    if cap is not None and placed.cost_micro_usd > cap:
        return Obstacle(
            f"It costs {usd(placed.cost_micro_usd)} on {named(placed)} and the cap is {usd(cap)}",
            "raise limits.cost_cap_micro_usd or train fewer epochs",
        )
    return None


def _fits_somewhere(demand: Demand, profiles: Profiles) -> bool:
    """Return whether some device of the catalogue would do, however long it takes."""
    return any(
        placed.fits and not find_obstacle(placed, replace(demand, deadline_s=None))
        for profile in profiles.values()
        for placed in placements(demand, profile, profile.memory_bytes, counts_of(profile))
    )


def _best_anywhere(found: Sequence[Placement], demand: Demand) -> Placement:
    if usable := [placed for placed in found if not find_obstacle(placed, demand)]:
        return _cheapest(usable)
    fitting = [placed for placed in found if placed.fits]
    return min(fitting, key=_time) if fitting else max(found, key=_room)


def _room(placed: Placement) -> float:
    return placed.capacity_bytes / placed.memory.high_bytes


def _reject(placed: Placement, chosen: Placement, demand: Demand, connected: bool) -> Rejected:
    cost, time_s = placed.cost_micro_usd, placed.time.expected_s
    if obstacle := find_obstacle(placed, demand):
        reason = f"{obstacle.problem}."
        cost, time_s = (cost, time_s) if placed.fits else (0, 0.0)
    else:
        slower = time_s > chosen.time.expected_s
        why = "takes longer" if slower else "would do better"
        why = "costs more" if cost > chosen.cost_micro_usd else why
        reason = (
            f"{'' if connected else 'No live trainer has one. '}It {why}: about "
            f"{in_words(time_s)} and {usd(cost)}."
        )
    return Rejected(placed.profile.id, placed.device_count, reason, cost, time_s)


def _otherwise(chosen: Placement, others: Sequence[Placement], demand: Demand) -> str:
    """Return what would be faster or cheaper than what was chosen, in two sentences at most."""
    usable = [placed for placed in others if not find_obstacle(placed, demand)]
    faster = min(usable, key=_time, default=chosen)
    cheaper = min(usable, key=cost_and_time, default=chosen)
    text = ""
    if _time(faster) < _time(chosen):
        text += f" Fastest: {_offer(faster)}."
    if cheaper.cost_micro_usd < chosen.cost_micro_usd:
        text += f" Cheapest: {_offer(cheaper)}."
    return text


def _offer(placed: Placement) -> str:
    return (
        f"{named(placed)} in about {in_words(placed.time.expected_s)} for "
        f"{usd(placed.cost_micro_usd)}"
    )


def _figures(placed: Placement) -> str:
    batching = placed.batching
    split = f" x {batching.device_count} devices" if batching.device_count > 1 else ""
    return (
        f"{named(placed)} needs up to {gib(placed.memory.high_bytes)} of "
        f"{gib(placed.capacity_bytes)}, about {in_words(placed.time.expected_s)} and "
        f"{usd(placed.cost_micro_usd)}; micro-batches of {batching.micro_batch_size} x "
        f"{batching.gradient_accumulation_steps}{split} keep the effective batch."
    )


def named(placed: Placement) -> str:
    """Return what a placement runs on, such as `2 x NVIDIA L4`."""
    title = placed.profile.title
    return title if placed.device_count == 1 else f"{placed.device_count} x {title}"
