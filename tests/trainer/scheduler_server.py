"""A scheduler with one queue in memory, behind real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attune.scheduler.v1 import worker_pb2, worker_pb2_grpc

from services.common.errors import FailedPrecondition
from services.common.rpc import Server


class SchedulerServer(worker_pb2_grpc.WorkerServiceServicer):
    """Gives out what `queue` holds, and keeps what workers say."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[worker_pb2.Lease] = asyncio.Queue()
        self.nodes: list[worker_pb2.Node] = []
        self.renewals: list[worker_pb2.RenewLeaseRequest] = []
        self.outcomes: asyncio.Queue[worker_pb2.FinishRunRequest] = asyncio.Queue()
        self.cancel = False
        self.pause = False
        self.lost = False
        self._renewed = asyncio.Condition()

    async def LeaseRun(self, request: Any, context: Any) -> worker_pb2.LeaseRunResponse:
        self.nodes.append(request.node)
        if not request.node.free_slot_count:
            return worker_pb2.LeaseRunResponse()
        try:
            wait_s = request.wait.ToTimedelta().total_seconds()
            lease = await asyncio.wait_for(self.queue.get(), wait_s)
        except TimeoutError:
            return worker_pb2.LeaseRunResponse()
        return worker_pb2.LeaseRunResponse(lease=lease)

    async def RenewLease(self, request: Any, context: Any) -> worker_pb2.RenewLeaseResponse:
        self._refuse_when_lost()
        self.renewals.append(request)
        async with self._renewed:
            self._renewed.notify_all()
        return worker_pb2.RenewLeaseResponse(cancel=self.cancel, pause=self.pause)

    async def FinishRun(self, request: Any, context: Any) -> worker_pb2.FinishRunResponse:
        self._refuse_when_lost()
        await self.outcomes.put(request)
        return worker_pb2.FinishRunResponse()

    async def until_phase(self, phase: int, done: int = 0) -> worker_pb2.RenewLeaseRequest:
        """Wait until a renewal says that the run is in a phase, so far at least."""
        async with self._renewed:
            await self._renewed.wait_for(
                lambda: (
                    self.renewals
                    and self.renewals[-1].progress.phase == phase
                    and self.renewals[-1].progress.done_count >= done
                )
            )
        return self.renewals[-1]

    def _refuse_when_lost(self) -> None:
        if self.lost:
            raise FailedPrecondition("A newer lease exists.", reason="LEASE_LOST")

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Listen while the block runs; yields the address."""
        server = Server("scheduler.attune")
        server.add(
            worker_pb2_grpc.add_WorkerServiceServicer_to_server,
            self,
            worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name,
        )
        bound = await server.start("127.0.0.1", port)
        try:
            yield f"127.0.0.1:{bound}"
        finally:
            await server.stop()
