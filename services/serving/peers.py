"""What serving asks of the scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator

from attune.scheduler.v1 import scheduler_pb2 as pb
from attune.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from grpc import aio

from services.common.peers import call

PAGE_SIZE = 100
PAGES_MAX = 100


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
