"""The nearest change to a spec that would fit, when no plan for it as it is does; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from attune.scheduler.v1.worker_pb2 import Node
from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.stage_pb2 import Method

from services.scheduler.demand import Demand
from services.scheduler.layout import place
from services.scheduler.profile import Catalogue, Profile

LENGTH_SHARES = (7 / 8, 3 / 4, 5 / 8, 1 / 2, 3 / 8, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64)
"""Maximum lengths that are looked at, as shares of the present one."""
LENGTH_UNIT = 16
"""A length that is proposed is a multiple of this many tokens."""
SHORTEST_TOKENS = 256
"""A limit below this, and below an eighth, is no remedy: it would cut away what is to be learnt."""
LIGHTER = (Method.METHOD_LORA, Method.METHOD_QLORA)
"""Methods that need less memory than those before them."""
RANK = 16
"""Of the adapter that is proposed to a stage that had none."""


def nearest_change(
    demand: Demand,
    methods: Collection[int],
    shapes: Iterable[ModelShape],
    fits: Callable[[Demand], bool],
) -> str:
    """Return the least change that would fit, such as `choose the method LORA`; or nothing.

    Rows cut shorter come first, as they change least of what is learnt; then fewer weights that
    learn; then weights of 4 bits; then a smaller model.

    Args:
        demand: Of a stage that fits nowhere.
        methods: Those that may be proposed.
        shapes: Models that may be proposed; only smaller ones are.
        fits: Tells whether a changed demand would fit.
    """
    for advice, changed in _changes(demand, methods, shapes):
        if fits(changed):
            return advice
    return ""


def fits_after_failures(demand: Demand, nodes: Sequence[Node], catalogue: Catalogue) -> bool:
    """Return whether a changed demand is sure to fit a live device, after what ran out of memory.

    What ran out was expected to fit, so a change must be safe by more than estimates say: even its
    high estimate must lie below what was expected of the layouts that ran out.

    Args:
        demand: The changed one, with what failed.
        nodes: All live nodes.
        catalogue: Profiles and shapes.
    """
    able = [
        node
        for node in nodes
        if demand.method in node.methods
        and any(one.id == demand.shape.id for one in node.base_models)
    ]
    fresh = replace(demand, failed=())
    return any(
        place(fresh, profile, room).fits for profile, room in _rooms(demand, able, catalogue)
    )


def _changes(
    demand: Demand, methods: Collection[int], shapes: Iterable[ModelShape]
) -> Iterator[tuple[str, Demand]]:
    """Yield changes, the least one first."""
    work = demand.workload
    shortest = min(SHORTEST_TOKENS, work.max_token_count // 8)
    for share in LENGTH_SHARES:
        length = int(work.max_token_count * share) // LENGTH_UNIT * LENGTH_UNIT
        if length >= max(shortest, LENGTH_UNIT):
            mean = min(work.mean_token_count, length)
            shorter = replace(work, max_token_count=length, mean_token_count=mean)
            yield f"set hyperparameters.max_length to {length}", replace(demand, workload=shorter)
    tried = LIGHTER.index(demand.method) + 1 if demand.method in LIGHTER else 0
    for method in LIGHTER[tried:]:
        if method in methods:
            name = Method.Name(method).removeprefix("METHOD_")
            lighter = replace(demand, method=method, rank=demand.rank or RANK)
            yield f"choose the method {name}", lighter
    for shape in sorted(shapes, key=lambda one: -one.parameter_count):
        if shape.parameter_count < demand.shape.parameter_count:
            yield f"choose the base model {shape.id}", replace(demand, shape=shape)


def _rooms(
    demand: Demand, nodes: Sequence[Node], catalogue: Catalogue
) -> list[tuple[Profile, int]]:
    """Return devices, each with what may be reckoned with there after what failed."""
    found = []
    for device in (device for node in nodes for device in node.devices):
        profile = catalogue.profiles.get(device.profile)
        if profile is None:
            continue
        if profile.is_gpu or demand.method != Method.METHOD_QLORA:
            below = [
                one.expected_bytes
                for one in demand.failed
                if one.capacity_bytes >= device.memory_bytes
            ]
            found.append((profile, min([device.memory_bytes, *below])))
    return found
