"""Queued jobs: where each could run, and why it waits, in words; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from attune.scheduler.v1.scheduler_pb2 import DataShape
from attune.scheduler.v1.worker_pb2 import Node
from attune.spec.v1.spec_pb2 import Spec

from services.common.errors import InvalidArgument
from services.scheduler.demand import Demand, read_demands
from services.scheduler.job import Job
from services.scheduler.layout import Placement
from services.scheduler.lessons import EMPTY, Book, Lessons
from services.scheduler.node import find_shape
from services.scheduler.placement import place_on_node, what_is_missing
from services.scheduler.profile import Catalogue
from services.scheduler.queue.entry import NEWCOMER, Account, Priority
from services.scheduler.queue.wait import Outlook, Wait, words
from services.scheduler.state import State


@dataclass(frozen=True, slots=True)
class Queued:
    """What the queue must know of a queued job beside where it could run."""

    name: str
    project: str
    priority: Priority
    queue_time: datetime
    promised_start_time: datetime | None
    promised_node: str
    attempt_count: int
    """After another attempt it may have to run elsewhere, or otherwise."""


def demands_of(
    spec: Spec,
    data_shape: DataShape,
    nodes: Sequence[Node],
    catalogue: Catalogue,
    book: Book = EMPTY,
) -> list[Demand]:
    """Return what the stages of a spec demand; the model's shape is the nodes' or the catalogue's.

    Args:
        spec: A spec.
        data_shape: Of its rows.
        nodes: All live nodes.
        catalogue: Profiles and shapes.
        book: What runs have taken.

    Raises:
        InvalidArgument: With every field that an estimate needs and cannot use.
    """
    shape = find_shape(spec.base_model, nodes) or catalogue.shapes.get(spec.base_model.id)
    return [
        replace(demand, lessons=_lessons(spec, demand, book))
        for demand in read_demands(spec, shape, data_shape)
    ]


def _lessons(spec: Spec, demand: Demand, book: Book) -> Lessons:
    return book.lessons(
        spec.base_model.id, demand.objective, demand.method, demand.workload.max_token_count
    )


def approved_demand(
    job: Job, nodes: Sequence[Node], catalogue: Catalogue, book: Book = EMPTY
) -> Demand:
    """Return what the present stage of a job demands, and what it ran out of memory with.

    Its limits are left aside.

    Limits were looked at before approval, with the shape of the data, which is not known here:
    looked at again with longer rows they could hold back for ever what was approved.

    Raises:
        InvalidArgument: With every field that placement needs and cannot use.
    """
    demand = demands_of(job.approved_spec, DataShape(), nodes, catalogue, book)[job.stage_index]
    return replace(demand, deadline_s=None, cost_cap_micro_usd=None, failed=job.failed)


def place_job(job: Job, node: Node, catalogue: Catalogue, book: Book = EMPTY) -> Placement | None:
    """Return where on the node a job would run, or None if it cannot run there."""
    try:
        demand = approved_demand(job, [node], catalogue, book)
    except InvalidArgument:
        return None
    return place_on_node(job.approved_spec, demand, node, catalogue.profiles)


def wait_reason_of(
    job: Job,
    nodes: Sequence[Node],
    catalogue: Catalogue,
    outlook: Outlook | None = None,
    account: Account = NEWCOMER,
    book: Book = EMPTY,
) -> str:
    """Return what a queued job waits for now; nothing for any other job.

    Args:
        job: Any job.
        nodes: All live nodes.
        catalogue: Profiles and shapes.
        outlook: What the last pass over the queue found; None before it was looked at.
        account: Of its project.
        book: What runs have taken.
    """
    if job.state is not State.QUEUED:
        return ""
    # What is first and was promised nothing waits for runs whose end nobody knows.
    unknown = outlook is None or (outlook.wait is Wait.AHEAD and outlook.position == 1)
    if outlook is not None and outlook.wait is not Wait.NOWHERE and not unknown:
        return words(outlook, account)
    spec = job.approved_spec
    try:
        demand = approved_demand(job, nodes, catalogue, book)
    except InvalidArgument as error:
        return error.message
    if missing := what_is_missing(spec, demand, nodes, catalogue.profiles):
        return " ".join(missing)
    able = [node for node in nodes if place_on_node(spec, demand, node, catalogue.profiles)]
    if outlook is None and any(node.free_slot_count > 0 for node in able):
        return "A trainer is about to take it."
    return f"Waits for {able[0].id} to finish what it runs."
