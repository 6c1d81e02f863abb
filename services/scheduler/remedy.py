"""The nearest change to a spec that would fit, when no plan for it as it is does; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from attune.scheduler.v1.worker_pb2 import Node
from attune.spec.v1.stage_pb2 import Method

from services.scheduler.demand import Demand
from services.scheduler.layout import place
from services.scheduler.profile import Catalogue, Profile

LENGTH_SHARES = (7 / 8, 3 / 4, 5 / 8, 1 / 2, 3 / 8, 1 / 4, 1 / 8)
"""Maximum lengths that are looked at, as shares of the present one."""
LENGTH_UNIT = 16
"""A length that is proposed is a multiple of this many tokens."""
OTHERWISE = (
    "No change to the spec is sure to fit here; choose a smaller base model or a shorter "
    "max_length, or connect a device with more memory."
)


def nearest_change(demand: Demand, nodes: Sequence[Node], catalogue: Catalogue) -> str:
    """Return the least change with which some live device would do, as a sentence.

    What ran out was expected to fit, so a change must be safe by more than estimates say: even its
    high estimate must lie below what was expected of the layouts that ran out.

    Args:
        demand: Of the job, with what failed.
        nodes: All live nodes.
        catalogue: Profiles and shapes.
    """
    for advice, changed, able in _changes(demand, nodes):
        rooms = _rooms(demand, able, catalogue)
        if any(place(changed, profile, room).fits for profile, room in rooms):
            return f"The nearest change that would fit: {advice}."
    return OTHERWISE


def _changes(demand: Demand, nodes: Sequence[Node]) -> Iterator[tuple[str, Demand, Sequence[Node]]]:
    """Yield changes, the least one first, each with the nodes that could run it."""
    fresh = replace(demand, failed=())
    work = demand.workload
    for share in LENGTH_SHARES:
        length = int(work.max_token_count * share) // LENGTH_UNIT * LENGTH_UNIT
        if length >= LENGTH_UNIT:
            mean = min(work.mean_token_count, length)
            shorter = replace(work, max_token_count=length, mean_token_count=mean)
            yield f"a max_length of {length} tokens", replace(fresh, workload=shorter), nodes
    if demand.method in (Method.METHOD_FULL, Method.METHOD_LORA):
        able = [node for node in nodes if Method.METHOD_QLORA in node.methods]
        rank = max(demand.rank, 1)
        quantised = replace(fresh, method=Method.METHOD_QLORA, rank=rank)
        yield "the method QLORA, whose base model has 4-bit weights", quantised, able
    shapes = {shape.id: shape for node in nodes for shape in node.base_models}
    for shape in sorted(shapes.values(), key=lambda one: -one.parameter_count):
        if shape.parameter_count < demand.shape.parameter_count:
            able = [node for node in nodes if any(one.id == shape.id for one in node.base_models)]
            yield f"the base model {shape.id}", replace(fresh, shape=shape), able


def _rooms(
    demand: Demand, nodes: Sequence[Node], catalogue: Catalogue
) -> list[tuple[Profile, int]]:
    """Return devices, each with what may be reckoned with there after what failed."""
    found = []
    for device in (device for node in nodes for device in node.devices):
        profile = catalogue.profiles[device.profile]
        if profile.is_gpu or demand.method != Method.METHOD_QLORA:
            below = [
                one.expected_bytes
                for one in demand.failed
                if one.capacity_bytes >= device.memory_bytes
            ]
            found.append((profile, min([device.memory_bytes, *below])))
    return found
