"""What becomes of a job whose run took more memory than there was; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from attune.scheduler.v1.scheduler_pb2 import Phase
from attune.scheduler.v1.worker_pb2 import FinishRunRequest, MemoryUse, Node
from google.rpc.status_pb2 import Status

from services.common.errors import InvalidArgument
from services.scheduler.demand import Demand
from services.scheduler.failed_layout import FailedLayout
from services.scheduler.job import Job
from services.scheduler.layout import Placement, cost_and_time
from services.scheduler.lessons import Book, key_of, measured
from services.scheduler.memory import Layout, estimate_memory
from services.scheduler.observed import Observation
from services.scheduler.placement import place_on_node
from services.scheduler.profile import Catalogue
from services.scheduler.remedy import fits_after_failures, nearest_change
from services.scheduler.state import State
from services.scheduler.waiting import approved_demand
from services.scheduler.words import GIB, gib

RETRIES_MAX = 3
"""How often a job that ran out of memory goes on with a larger plan; the next time it fails."""
OTHERWISE = (
    "No change to the spec is sure to fit here; choose a smaller base model or a shorter "
    "max_length, or connect a device with more memory."
)
DURING = {
    Phase.PHASE_VALIDATE: "while its data were checked",
    Phase.PHASE_BASELINE: "while the base model was scored",
    Phase.PHASE_EVALUATE: "while the tuned model was scored",
    Phase.PHASE_REGISTER: "while the adapter was written",
}


@dataclass(frozen=True)
class World:
    """What decides where a job can go on."""

    nodes: Sequence[Node]
    """All live ones."""
    catalogue: Catalogue
    book: Book
    """What runs have taken of memory."""


def layout_of(placement: Placement) -> FailedLayout:
    """Return what is kept of a placement, should it turn out too small."""
    return FailedLayout(
        profile=placement.profile.id,
        capacity_bytes=placement.capacity_bytes,
        micro_batch_size=placement.batching.micro_batch_size,
        gradient_checkpointing=placement.batching.gradient_checkpointing,
        expected_bytes=placement.memory.formula_bytes,
        device_count=placement.device_count,
    )


def after_shortage(job: Job, request: FinishRunRequest, world: World, now: datetime) -> Job:
    """Return the job on its way to the next larger plan, or failed where there is none.

    Args:
        job: Holds the lease.
        request: Says how the run ended.
        world: Where it can go on.
        now: The present moment.

    Raises:
        FailedPrecondition: If it holds no lease.
    """
    use, told = request.memory, _story(job, request.memory)
    failed = _failed(job, use)
    job = replace(job, failed=job.failed)
    if job.state is State.CANCELLING:
        return job.run_out(replace(failed, reason=f"Stopped on request. {told}."), now)
    if len(job.failed) >= RETRIES_MAX:
        why = f"{told}; it went on with a larger plan {RETRIES_MAX} times already"
        return _given_up(job, failed, why, request.error, world, now)
    following = _next(replace(job, failed=(*job.failed, failed)), world)
    if following is None:
        why = f"{told}, and no live device has a larger plan for it"
        return _given_up(job, failed, why, request.error, world, now)
    told = f"{told}; goes on with {_plan(following, failed)} {_from(use)}.{_figures(use, failed)}"
    return job.run_out(replace(failed, reason=told), now)


def observation_of(job: Job, request: FinishRunRequest, world: World) -> Observation | None:
    """Return what a run has shown of its memory; None when that says nothing of estimates.

    Args:
        job: Its job.
        request: Says how it ended.
        world: Knows the shape of its model.
    """
    use, ended = request.memory, request.outcome
    profile = world.catalogue.profiles.get(use.profile)
    if profile is None or use.phase != Phase.PHASE_TRAIN:
        return None
    if use.peak_bytes < 1 or use.max_token_count < 1:
        return None
    try:
        demand = approved_demand(job, world.nodes, world.catalogue)
    except InvalidArgument:
        return None
    plan = use.parallel_plan
    layout = Layout(
        max(plan.micro_batch_size, 1),
        use.max_token_count,
        plan.gradient_checkpointing,
        accumulates=plan.gradient_accumulation_steps > 1,
        objective=demand.objective,
    )
    estimate = estimate_memory(
        demand.shape, demand.method, demand.rank, demand.target_modules, profile, layout
    )
    expected_bytes = measured(estimate, profile).expected_bytes
    # What ran out needed more than it could take: that teaches only where it took too much.
    ran_out = ended == FinishRunRequest.OUTCOME_OUT_OF_MEMORY and use.peak_bytes > expected_bytes
    if ended != FinishRunRequest.OUTCOME_SUCCEEDED and not ran_out:
        return None
    model = job.approved_spec.base_model.id
    key = key_of(model, demand.objective, demand.method, use.max_token_count, profile.id)
    return Observation(key, expected_bytes, use.peak_bytes)


def _failed(job: Job, use: MemoryUse) -> FailedLayout:
    plan = use.parallel_plan
    layout = job.layout or FailedLayout(
        use.profile, 0, max(plan.micro_batch_size, 1), plan.gradient_checkpointing, 0
    )
    if use.phase == Phase.PHASE_TRAIN:
        return layout
    # Other phases do not train in micro-batches: only a larger device helps.
    return replace(layout, micro_batch_size=1, gradient_checkpointing=True)


def _next(job: Job, world: World) -> Placement | None:
    """Return the cheapest place on a live node that avoids what failed."""
    try:
        demand = approved_demand(job, world.nodes, world.catalogue, world.book)
    except InvalidArgument:
        return None
    profiles = world.catalogue.profiles
    found = [
        placed
        for node in world.nodes
        if (placed := place_on_node(job.approved_spec, demand, node, profiles))
    ]
    return min(found, key=cost_and_time, default=None)


def _given_up(
    job: Job, failed: FailedLayout, why: str, error: Status, world: World, now: datetime
) -> Job:
    job = replace(job, failed=(*job.failed, failed))
    change = "Connect a device with more memory."
    try:
        demand = approved_demand(job, world.nodes, world.catalogue, world.book)
    except InvalidArgument:
        pass
    else:
        change = _remedy(demand, world)
    final = Status()
    final.CopyFrom(error)
    final.message = f"{why}. {change}"
    ended = replace(failed, reason=final.message)
    return replace(job.fail(final, now), failed=(*job.failed[:-1], ended))


def _remedy(demand: Demand, world: World) -> str:
    methods = {method for node in world.nodes for method in node.methods}
    shapes = {shape.id: shape for node in world.nodes for shape in node.base_models}.values()
    change = nearest_change(
        demand,
        methods,
        shapes,
        lambda changed: fits_after_failures(changed, world.nodes, world.catalogue),
    )
    return f"The nearest change that would fit: {change}." if change else OTHERWISE


def _story(job: Job, use: MemoryUse) -> str:
    if use.phase != Phase.PHASE_TRAIN:
        return f"Ran out of memory {DURING.get(use.phase, 'before it trained')}"
    size = job.layout.micro_batch_size if job.layout else use.parallel_plan.micro_batch_size
    return f"Ran out of memory at step {use.step_count} with micro-batches of {size}"


def _plan(placed: Placement, failed: FailedLayout) -> str:
    batching = placed.batching
    text = f"{batching.micro_batch_size} x {batching.gradient_accumulation_steps}"
    if batching.gradient_checkpointing:
        text += " and gradient checkpointing"
    if placed.profile.id != failed.profile or placed.capacity_bytes != failed.capacity_bytes:
        text += f" on {placed.profile.title} with {gib(placed.capacity_bytes)}"
    return text


def _from(use: MemoryUse) -> str:
    step = use.checkpoint_step_count
    return f"from step {step}" if step else "from the start"


def _figures(use: MemoryUse, failed: FailedLayout) -> str:
    if not use.peak_bytes or not failed.capacity_bytes:
        return ""
    return (
        f" It took {gib(use.peak_bytes)}, where {failed.expected_bytes / GIB:.1f} of "
        f"{gib(failed.capacity_bytes)} were expected."
    )
