"""Why a queued job waits, in words; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from attune.scheduler.v1.scheduler_pb2 import DataShape
from attune.scheduler.v1.worker_pb2 import Node
from attune.spec.v1.spec_pb2 import Spec

from services.common.errors import InvalidArgument
from services.scheduler.demand import Demand, read_demand
from services.scheduler.job import Job, State
from services.scheduler.node import find_shape
from services.scheduler.placement import Placement, place_on_node, what_is_missing
from services.scheduler.profile import Catalogue


def demand_of(
    spec: Spec, data_shape: DataShape, nodes: Sequence[Node], catalogue: Catalogue
) -> Demand:
    """Return what a spec demands, with its model's shape from the nodes or the catalogue.

    Raises:
        InvalidArgument: With every field that an estimate needs and cannot use.
    """
    shape = find_shape(spec.base_model, nodes) or catalogue.shapes.get(spec.base_model.id)
    return read_demand(spec, shape, data_shape)


def approved_demand(job: Job, nodes: Sequence[Node], catalogue: Catalogue) -> Demand:
    """Return what a job demands, its limits aside.

    Limits were looked at before approval, with the shape of the data, which is not known here:
    looked at again with longer rows they could hold back for ever what was approved.

    Raises:
        InvalidArgument: With every field that placement needs and cannot use.
    """
    demand = demand_of(job.approved_spec, DataShape(), nodes, catalogue)
    return replace(demand, deadline_s=None, cost_cap_micro_usd=None)


def place_job(job: Job, node: Node, catalogue: Catalogue) -> Placement | None:
    """Return where on the node a job would run, or None if it cannot run there."""
    try:
        demand = approved_demand(job, [node], catalogue)
    except InvalidArgument:
        return None
    return place_on_node(job.approved_spec, demand, node, catalogue.profiles)


def reason_of(job: Job, nodes: Sequence[Node], catalogue: Catalogue) -> str:
    """Return why a job is in its state; for a queued one, what it waits for now.

    Args:
        job: Any job.
        nodes: All live nodes.
        catalogue: Profiles and shapes.
    """
    if job.state is not State.QUEUED:
        return job.state_reason
    return f"{job.state_reason} {_waits_for(job, nodes, catalogue)}".strip()


def _waits_for(job: Job, nodes: Sequence[Node], catalogue: Catalogue) -> str:
    spec = job.approved_spec
    try:
        demand = approved_demand(job, nodes, catalogue)
    except InvalidArgument as error:
        return error.message
    if missing := what_is_missing(spec, demand, nodes, catalogue.profiles):
        return " ".join(missing)
    able = [node for node in nodes if place_on_node(spec, demand, node, catalogue.profiles)]
    if any(node.free_slot_count > 0 for node in able):
        return "A trainer is about to take it, the oldest job first."
    return f"Waits for {able[0].id} to finish what it runs."
