"""What people and other services may ask: estimates, jobs as they are now, and to stop one."""

from __future__ import annotations

from collections.abc import AsyncIterator

from attune.scheduler.v1 import scheduler_pb2
from attune.scheduler.v1.worker_pb2 import Node
from attune.spec.v1.spec_pb2 import Spec

from services.common.clock import Clock
from services.common.errors import Unavailable
from services.scheduler import wire
from services.scheduler.changes import Changes
from services.scheduler.job import FINAL, Job, State
from services.scheduler.node import live_since
from services.scheduler.node_store import NodeStore
from services.scheduler.placement import Plan, make_plan
from services.scheduler.profile import Catalogue
from services.scheduler.store import JobStore
from services.scheduler.waiting import demand_of, reason_of

FALLBACK_S = 2.0
"""Longest time between two looks at a watched job; a commit of this process wakes at once."""


class Desk:
    """Answers with what the database holds, and with what queued jobs wait for."""

    def __init__(
        self,
        jobs: JobStore,
        nodes: NodeStore,
        changes: Changes,
        catalogue: Catalogue,
        clock: Clock,
    ) -> None:
        """Keep what it works with."""
        self._jobs = jobs
        self._nodes = nodes
        self._changes = changes
        self._catalogue = catalogue
        self._clock = clock

    async def estimate(self, spec: Spec, data_shape: scheduler_pb2.DataShape) -> Plan:
        """Return where a spec would run and what it would take.

        Raises:
            InvalidArgument: With every field that the estimate needs and cannot use.
        """
        nodes = await self._live_nodes()
        demand = demand_of(spec, data_shape, nodes, self._catalogue)
        return make_plan(spec, demand, nodes, self._catalogue.profiles)

    async def get(self, name: str) -> scheduler_pb2.Job:
        """Return a job as it is now.

        Raises:
            NotFound: If there is none of that name.
        """
        return self._answer(await self._jobs.get(name), await self._live_nodes())

    async def list_jobs(
        self, project: str, *, limit: int, before_id: str, state: State | None, spec: str
    ) -> list[scheduler_pb2.Job]:
        """Return jobs, newest first.

        Args:
            project: Its id, or `-` for all.
            limit: Most jobs.
            before_id: Only jobs older than this one; empty for all.
            state: Only jobs in this state.
            spec: Only jobs of this spec; empty for all.
        """
        jobs = await self._jobs.list_page(
            project, limit=limit, before_id=before_id, state=state, spec=spec
        )
        nodes = await self._live_nodes()
        return [self._answer(job, nodes) for job in jobs]

    async def watch(self, name: str) -> AsyncIterator[scheduler_pb2.Job]:
        """Yield a job as it is, then after every change, until it has ended.

        Raises:
            NotFound: If there is none of that name.
            Unavailable: If the service stops before the job has ended.
        """
        last: scheduler_pb2.Job | None = None
        while not self._changes.closed:
            change = self._changes.next()
            job = await self._jobs.get(name)
            answer = self._answer(job, await self._live_nodes())
            if answer != last:
                yield answer
                last = answer
            if job.state in FINAL:
                return
            await self._changes.wait(change, FALLBACK_S)
        raise Unavailable("The scheduler stops now. Watch again in a moment.", reason="STOPPING")

    async def cancel(self, request: scheduler_pb2.CancelJobRequest) -> scheduler_pb2.Job:
        """Ask a job to stop; a repeated request gets the first answer.

        Raises:
            NotFound: If there is none of that name.
            FailedPrecondition: If it has succeeded or failed.
        """
        now = self._clock.now()
        return await self._jobs.cancel(request, lambda job: job.cancel(now), wire.job_to_proto, now)

    async def _live_nodes(self) -> list[Node]:
        now = self._clock.now()
        return await self._nodes.list_live(live_since(now), now)

    def _answer(self, job: Job, nodes: list[Node]) -> scheduler_pb2.Job:
        return wire.job_to_proto(job, reason_of(job, nodes, self._catalogue))
