"""Leases: gives runs to nodes, keeps them and takes their outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attune.scheduler.v1.scheduler_pb2 import JobProgress
from attune.scheduler.v1.worker_pb2 import FinishRunRequest, Node

from services.common.clock import Clock
from services.common.errors import NotFound, invalid
from services.scheduler.board import Board
from services.scheduler.changes import Changes
from services.scheduler.job import Job
from services.scheduler.layout import Placement
from services.scheduler.lease import (
    Lease,
    LeaseTerms,
    check_holder,
    is_orphaned,
    is_repeat,
    job_of_run,
    unknown_run,
)
from services.scheduler.node import check_node, live_since
from services.scheduler.node_store import NodeStore
from services.scheduler.observed import Observation
from services.scheduler.outcome import apply_outcome, check_outcome
from services.scheduler.profile import Catalogue
from services.scheduler.shortage import World, layout_of, observation_of
from services.scheduler.state import State
from services.scheduler.store import JobStore
from services.scheduler.waiting import place_job

FALLBACK_S = 2.0
"""Longest time between two looks at the queue; a commit of this process wakes at once."""
GIVES_MAX = 10
"""Jobs that one look tries to give while others are first each time."""


class Dispatcher:
    """What trainers may do with leases."""

    def __init__(
        self,
        jobs: JobStore,
        nodes: NodeStore,
        board: Board,
        changes: Changes,
        catalogue: Catalogue,
        terms: LeaseTerms,
        clock: Clock,
    ) -> None:
        """Keep what it works with."""
        self._jobs = jobs
        self._nodes = nodes
        self._board = board
        self._changes = changes
        self._catalogue = catalogue
        self._terms = terms
        self._clock = clock

    async def lease(self, node: Node, wait_s: float) -> Lease | None:
        """Register a node and give it the job that the queue has for it.

        Args:
            node: As it is now.
            wait_s: Longest time to wait for one, in seconds.

        Returns:
            The lease, or None if there was nothing to do in time.

        Raises:
            InvalidArgument: If the node breaks a rule.
        """
        if violations := check_node(node):
            raise invalid(violations)
        await self._nodes.put(node, self._clock.now())
        await self._take_back(node)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        with self._board.asking(node):
            while True:
                change = self._changes.next()
                if node.free_slot_count > 0 and (given := await self._give(node)):
                    return given
                left = deadline - loop.time()
                if left <= 0 or self._changes.closed:
                    return None
                await self._changes.wait(change, min(left, FALLBACK_S))

    async def renew(self, run: str, fence: int, progress: JobProgress | None) -> Job:
        """Keep a lease and report progress.

        Raises:
            FailedPrecondition: With reason LEASE_LOST, if the fence is not the newest or its
                lease ended.
        """

        def decide(job: Job) -> Job:
            check_holder(job, run, fence)
            now = self._clock.now()
            return job.renew(progress, self._terms.expire_time(now), now)

        return await self._change(run, fence, decide)

    async def finish(self, request: FinishRunRequest) -> Job:
        """End a lease with its outcome; a repeat changes nothing.

        Raises:
            InvalidArgument: If the outcome lacks what it must carry.
            FailedPrecondition: With reason LEASE_LOST, if the outcome was not taken.
        """
        check_outcome(request)
        world = await self._world() if request.HasField("memory") else None

        def decide(job: Job) -> Job:
            if is_repeat(job, request.run, request.fence):
                return job
            check_holder(job, request.run, request.fence)
            return apply_outcome(job, request, self._clock.now(), world)

        observation = None
        if world is not None:
            job = await self._get(request.run, request.fence)
            observation = observation_of(job, request, world)
        return await self._change(request.run, request.fence, decide, observation)

    async def _world(self) -> World:
        now = self._clock.now()
        nodes = await self._nodes.list_live(live_since(now), now)
        return World(nodes, self._catalogue, await self._board.book())

    async def _get(self, run: str, fence: int) -> Job:
        try:
            return await self._jobs.get(job_of_run(run))
        except NotFound:
            raise unknown_run(run, fence) from None

    async def _change(
        self,
        run: str,
        fence: int,
        decide: Callable[[Job], Job],
        observation: Observation | None = None,
    ) -> Job:
        try:
            return await self._jobs.change(job_of_run(run), decide, observation)
        except NotFound:
            raise unknown_run(run, fence) from None

    async def _take_back(self, node: Node) -> None:
        """Queue the jobs again whose runs died with an earlier worker of the node."""

        def decide(job: Job) -> Job:
            if not is_orphaned(job, node.id, node.instance):
                return job
            return job.expire(f"The trainer on {node.id} started anew.", self._clock.now())

        for job in await self._jobs.list_leased(node=node.id):
            if is_orphaned(job, node.id, node.instance):
                await self._jobs.change(job.name, decide)

    async def _give(self, node: Node) -> Lease | None:
        """Lease what a pass over the queue has for the node; after a lost race, look again."""
        for tries in range(GIVES_MAX):
            view = await self._board.look(fresh=tries > 0)
            start = view.start_on(node.id)
            if start is None:
                return None
            job = await self._jobs.get(start.job)
            if job.state is State.QUEUED:
                # Its place may have been found before the last lessons, or before it ran out.
                placement = place_job(job, node, self._catalogue, view.book)
                if placement is None:
                    self._board.forget(job.name)
                    continue
                leased = await self._lease(job, node, placement)
                if leased is not None:
                    return Lease(leased, placement, self._terms)
        return None

    async def _lease(self, job: Job, node: Node, placement: Placement) -> Job | None:
        def decide(job: Job) -> Job:
            now = self._clock.now()
            return job.lease(
                node.id,
                node.instance,
                self._terms.expire_time(now),
                now,
                expected_s=placement.time.expected_s,
                price_micro_usd_per_hour=placement.price_micro_usd_per_hour,
                layout=layout_of(placement),
            )

        return await self._jobs.lease(job, node.instance, decide)
