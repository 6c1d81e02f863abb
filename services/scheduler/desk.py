"""What others may ask: estimates, jobs as they are now, to change one, and what there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from attune.scheduler.v1 import fleet_pb2, scheduler_pb2
from attune.scheduler.v1.worker_pb2 import Node
from attune.spec.v1.spec_pb2 import Spec

from services.common.clock import Clock
from services.common.errors import Unavailable
from services.scheduler import wire, wire_fleet
from services.scheduler.board import Board, View, expected_end, pool_of
from services.scheduler.changes import Changes
from services.scheduler.job import Job
from services.scheduler.node import live_since
from services.scheduler.node_store import NodeStore
from services.scheduler.placement import Plan, make_plan
from services.scheduler.profile import Catalogue
from services.scheduler.question import answer
from services.scheduler.queue.wait import Wait
from services.scheduler.state import FINAL, State
from services.scheduler.store import JobStore
from services.scheduler.waiting import demands_of, wait_reason_of

ON_REQUEST = "Paused on request."
FALLBACK_S = 2.0
"""Longest time between two looks at a watched job; a commit of this process wakes at once."""
REFRESH_S = 10.0
"""Time after which a watcher hears of estimates and costs that moved while nothing happened."""
MANY = 100
"""With so many nodes their kinds are read once in a while, and not for each estimate."""
KINDS_S = 1.0
"""That while."""
MOVING = ("cost_micro_usd", "estimated_start_time", "estimated_end_time")
"""Fields that move by themselves."""


class Desk:
    """Answers with what the database holds, and with what queued jobs wait for."""

    def __init__(
        self,
        jobs: JobStore,
        nodes: NodeStore,
        board: Board,
        changes: Changes,
        catalogue: Catalogue,
        clock: Clock,
    ) -> None:
        """Keep what it works with."""
        self._jobs = jobs
        self._nodes = nodes
        self._board = board
        self._changes = changes
        self._catalogue = catalogue
        self._clock = clock
        self._kinds: list[Node] = []
        self._kinds_time: datetime | None = None
        self._node_count = 0

    async def estimate(self, spec: Spec, data_shape: scheduler_pb2.DataShape) -> Plan:
        """Return where a spec would run and what it would take.

        Raises:
            InvalidArgument: With every field that the estimate needs and cannot use.
        """
        nodes = await self._kinds_of_nodes()
        book = await self._board.book()
        demands = demands_of(spec, data_shape, nodes, self._catalogue, book)
        return make_plan(spec, demands, nodes, self._catalogue.profiles)

    async def get(self, name: str) -> scheduler_pb2.Job:
        """Return a job as it is now.

        Raises:
            NotFound: If there is none of that name.
        """
        view = await self._board.look()
        return self._answer(await self._jobs.get(name), view)

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
        view = await self._board.look()
        jobs = await self._jobs.list_page(
            project, limit=limit, before_id=before_id, state=state, spec=spec
        )
        return [self._answer(job, view) for job in jobs]

    async def watch(self, name: str) -> AsyncIterator[scheduler_pb2.Job]:
        """Yield a job as it is, then after every change, until it has ended.

        Raises:
            NotFound: If there is none of that name.
            Unavailable: If the service stops before the job has ended.
        """
        last: scheduler_pb2.Job | None = None
        loop, told_s = asyncio.get_running_loop(), 0.0
        while not self._changes.closed:
            change = self._changes.next()
            view = await self._board.look()  # First, so that it knows at most what the job knows.
            job = await self._jobs.get(name)
            answer = self._answer(job, view)
            late = loop.time() - told_s >= REFRESH_S
            if last is None or (answer != last if late else _settled(answer) != _settled(last)):
                yield answer
                last, told_s = answer, loop.time()
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
        return await self._change(request, lambda job, now: job.cancel(now))

    async def pause(self, request: scheduler_pb2.PauseJobRequest) -> scheduler_pb2.Job:
        """Ask a job to rest; a repeated request gets the first answer.

        Raises:
            NotFound: If there is none of that name.
            FailedPrecondition: If it has ended or is being cancelled.
        """
        return await self._change(request, lambda job, now: job.pause(ON_REQUEST, now))

    async def resume(self, request: scheduler_pb2.ResumeJobRequest) -> scheduler_pb2.Job:
        """Answer a paused job; a repeated request gets the first answer.

        Raises:
            NotFound: If there is none of that name.
            InvalidArgument: If there is no such decision, or it needs one.
            FailedPrecondition: If it has ended or is being cancelled, or is to stop and does not
                rest.
        """
        decision = wire.decision_from_proto(request.decision)
        return await self._change(request, lambda job, now: answer(job, decision, now))

    async def set_priority(self, request: scheduler_pb2.SetJobPriorityRequest) -> scheduler_pb2.Job:
        """Rank a job within its project; a repeated request gets the first answer.

        Raises:
            NotFound: If there is none of that name.
            InvalidArgument: If there is no such priority.
            FailedPrecondition: If it has ended.
        """
        priority = wire.priority_from_proto(request.priority)
        return await self._change(request, lambda job, now: job.set_priority(priority, now))

    async def list_profiles(self, *, limit: int, after_id: str) -> list[fleet_pb2.ComputeProfile]:
        """Return profiles by id, with whether a live node has such a device.

        Args:
            limit: Most profiles.
            after_id: Only profiles after this one; empty for all.
        """
        nodes = await self._kinds_of_nodes()
        live = {device.profile for node in nodes for device in node.devices}
        profiles = self._catalogue.profiles
        ids = sorted(one for one in profiles if one > after_id)[:limit]
        return [wire_fleet.profile_to_proto(profiles[one], live=one in live) for one in ids]

    async def list_nodes(self, *, limit: int, after_id: str) -> list[fleet_pb2.ComputeNode]:
        """Return all nodes by id, whether they are live or not.

        Args:
            limit: Most nodes.
            after_id: Only nodes after this one; empty for all.
        """
        now = self._clock.now()
        found = await self._nodes.list_page(live_since(now), now, limit=limit, after_id=after_id)
        return [wire_fleet.node_to_proto(node, time, live=live) for node, time, live in found]

    async def _change(
        self, request: Any, decide: Callable[[Job, datetime], Job]
    ) -> scheduler_pb2.Job:
        now = self._clock.now()
        return await self._jobs.change_once(
            request, lambda job: decide(job, now), wire.job_to_proto, now
        )

    async def _kinds_of_nodes(self) -> list[Node]:
        """Return one live node of each kind: others alike would only be looked at again."""
        now = self._clock.now()
        age_s = (now - self._kinds_time).total_seconds() if self._kinds_time else KINDS_S
        if self._node_count < MANY or not 0 <= age_s < KINDS_S:
            nodes = await self._nodes.list_live(live_since(now), now)
            self._kinds = list({pool_of(node): node for node in nodes}.values())
            self._node_count, self._kinds_time = len(nodes), now
        return self._kinds

    def _answer(self, job: Job, view: View) -> scheduler_pb2.Job:
        outlook, account = view.outlook(job.name), view.account(job.name)
        waits = wait_reason_of(job, view.kinds, self._catalogue, outlook, account, view.book)
        prospect = wire.Prospect(
            state_reason=f"{job.state_reason} {waits}".strip(),
            wait_reason=waits,
            estimated_end=expected_end(job),
            cost_micro_usd=job.cost_micro_usd(self._clock.now()),
            later_s=self._board.later_s(job, view),
        )
        if job.state is State.QUEUED and outlook is not None:
            prospect = replace(
                prospect,
                queue_position=outlook.position,
                estimated_start=_moment(outlook.start_s),
                estimated_end=_moment(outlook.end_s),
                start_promised=outlook.wait is Wait.ROOM,
            )
        return wire.job_to_proto(job, prospect)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _settled(job: scheduler_pb2.Job) -> scheduler_pb2.Job:
    """Return a job without what moves by itself."""
    settled = scheduler_pb2.Job()
    settled.CopyFrom(job)
    for name in MOVING:
        settled.ClearField(name)  # type: ignore[arg-type]  # One of three literals.
    return settled
