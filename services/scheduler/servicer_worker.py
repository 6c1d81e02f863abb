"""WorkerService: decodes, calls, encodes."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

from typing import Any

from attune.scheduler.v1 import worker_pb2, worker_pb2_grpc

from services.scheduler import wire
from services.scheduler.dispatch import Dispatcher


class WorkerServicer(worker_pb2_grpc.WorkerServiceServicer):
    """Answers trainers."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        """Keep what does the work."""
        self._dispatcher = dispatcher

    async def LeaseRun(
        self, request: worker_pb2.LeaseRunRequest, context: Any
    ) -> worker_pb2.LeaseRunResponse:
        lease = await self._dispatcher.lease(request.node, wire.wait_s(request))
        return wire.lease_to_response(lease)

    async def RenewLease(
        self, request: worker_pb2.RenewLeaseRequest, context: Any
    ) -> worker_pb2.RenewLeaseResponse:
        progress = request.progress if request.HasField("progress") else None
        job = await self._dispatcher.renew(request.run, request.fence, progress)
        return wire.renewal_to_proto(job)

    async def FinishRun(
        self, request: worker_pb2.FinishRunRequest, context: Any
    ) -> worker_pb2.FinishRunResponse:
        job = await self._dispatcher.finish(request)
        return worker_pb2.FinishRunResponse(job_state=wire.STATES[job.state])
