"""What serving asks of the scheduler and of the trainer."""

from __future__ import annotations

from collections.abc import AsyncIterator

from attune.scheduler.v1 import scheduler_pb2 as pb
from attune.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from attune.trainer.v1 import trainer_pb2
from attune.trainer.v1.trainer_pb2_grpc import TrainerServiceStub
from grpc import aio

from services.common.peers import call

PAGE_SIZE = 100
PAGES_MAX = 100
MERGE_TIMEOUT_S = 3600.0
"""A large model is read and written whole; the trainer goes on when the call ends."""


class Scheduler:
    """The scheduler, as serving sees it."""

    def __init__(self, channel: aio.Channel) -> None:
        """Keep the channel."""
        self._stub = SchedulerServiceStub(channel)

    async def list_succeeded_jobs(self) -> AsyncIterator[list[pb.Job]]:
        """Yield the succeeded jobs of all projects page by page, newest first, at most 10,000.

        Raises:
            ServiceError: If the scheduler is away or refuses.
        """
        request = pb.ListJobsRequest(
            parent="projects/-", page_size=PAGE_SIZE, state=pb.Job.STATE_SUCCEEDED
        )
        for _ in range(PAGES_MAX):
            response = await call(self._stub.ListJobs, request)
            yield list(response.jobs)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token


class Trainer:
    """The trainer, as serving sees it."""

    def __init__(self, channel: aio.Channel) -> None:
        """Keep the channel."""
        self._stub = TrainerServiceStub(channel)

    async def merge(self, adapter_sha256: str) -> str:
        """Return the hash of the whole model that an adapter and its base make, at hand as a base.

        Raises:
            ServiceError: If the trainer is away or refuses.
        """
        request = trainer_pb2.MergeAdapterRequest(adapter_sha256=adapter_sha256)
        answer = await call(self._stub.MergeAdapter, request, timeout_s=MERGE_TIMEOUT_S)
        return str(answer.merged_sha256)
