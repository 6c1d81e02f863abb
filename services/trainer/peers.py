"""Calls to the scheduler's WorkerService."""

from __future__ import annotations

from attune.scheduler.v1.worker_pb2 import (
    FinishRunRequest,
    Lease,
    LeaseRunRequest,
    Node,
    RenewLeaseRequest,
    RenewLeaseResponse,
)
from attune.scheduler.v1.worker_pb2_grpc import WorkerServiceStub

from services.common import peers

LEASE_SLACK_S = 5.0
"""Time on top of the wait that an answer to LeaseRun may take."""


class SchedulerPeer:
    """The scheduler, as a worker sees it."""

    def __init__(self, address: str) -> None:
        """Prepare the channel to `host:port`; it connects on first use."""
        self._channel = peers.channel(address)
        self._stub = WorkerServiceStub(self._channel)

    async def lease_run(self, node: Node, wait_s: float) -> Lease | None:
        """Register the node and return a run's lease, or None if there was nothing in time.

        Raises:
            ServiceError: What the scheduler refused with, Unavailable when it is away.
        """
        request = LeaseRunRequest(node=node)
        request.wait.FromMilliseconds(int(wait_s * 1000))
        response = await peers.call(self._stub.LeaseRun, request, timeout_s=wait_s + LEASE_SLACK_S)
        return response.lease if response.HasField("lease") else None

    async def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResponse:
        """Report progress and keep the lease.

        Raises:
            FailedPrecondition: With reason LEASE_LOST if it is no longer ours.
        """
        response: RenewLeaseResponse = await peers.call(self._stub.RenewLease, request)
        return response

    async def finish_run(self, request: FinishRunRequest) -> None:
        """Hand in how a run ended.

        Raises:
            FailedPrecondition: With reason LEASE_LOST if the outcome was not taken.
        """
        await peers.call(self._stub.FinishRun, request)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close(grace=None)
