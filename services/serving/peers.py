"""What serving asks of the planner, of the scheduler and of the trainer."""

from __future__ import annotations

from collections.abc import AsyncIterator

from attune.planner.v1 import dataset_pb2
from attune.planner.v1.dataset_pb2_grpc import DatasetServiceStub
from attune.scheduler.v1 import scheduler_pb2 as pb
from attune.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from attune.spec.v1.grader_pb2 import Grader
from attune.trainer.v1 import grader_pb2, trainer_pb2
from attune.trainer.v1.grader_pb2_grpc import GraderServiceStub
from attune.trainer.v1.trainer_pb2_grpc import TrainerServiceStub
from grpc import aio

from services.common.errors import FailedPrecondition
from services.common.peers import call
from services.serving.playground.export import Dataset
from services.serving.playground.grading import Sample

PAGE_SIZE = 100
PAGES_MAX = 100
UNFINISHED = (
    pb.Job.STATE_QUEUED,
    pb.Job.STATE_RUNNING,
    pb.Job.STATE_PAUSED,
    pb.Job.STATE_PAUSING,
    pb.Job.STATE_YIELDING,
    pb.Job.STATE_CANCELLING,
)
"""States of jobs that may still train."""
MERGE_TIMEOUT_S = 3600.0
"""A large model is read and written whole; the trainer goes on when the call ends."""
GRADE_TIMEOUT_S = 60.0
"""A judge, or code, may take a while; whoever waits for the answer waits for its scores too."""
UPLOAD_TIMEOUT_S = 60.0
CHUNK_BYTES = 1024 * 1024
"""Of an upload; the most that the planner takes."""


class Planner:
    """The planner, as serving sees it."""

    def __init__(self, channel: aio.Channel) -> None:
        """Keep the channel."""
        self._stub = DatasetServiceStub(channel)

    async def upload(
        self, parent: str, display_name: str, content: bytes, request_id: str
    ) -> Dataset:
        """Keep a file of JSON lines; a repeat with the same request_id returns the first dataset.

        Raises:
            ServiceError: If the planner is away or refuses.
        """
        header = dataset_pb2.UploadHeader(
            parent=parent, display_name=display_name, request_id=request_id, file_format="jsonl"
        )

        async def pieces() -> AsyncIterator[dataset_pb2.UploadDatasetRequest]:
            yield dataset_pb2.UploadDatasetRequest(header=header)
            for start in range(0, len(content), CHUNK_BYTES):
                yield dataset_pb2.UploadDatasetRequest(chunk=content[start : start + CHUNK_BYTES])

        found = await call(self._stub.UploadDataset, pieces(), timeout_s=UPLOAD_TIMEOUT_S)
        return Dataset(found.name, found.sha256)


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
        async for jobs in self._list_jobs(pb.Job.STATE_SUCCEEDED):
            yield jobs

    async def list_unfinished_jobs(self) -> AsyncIterator[list[pb.Job]]:
        """Yield the jobs of all projects that may still train, at most 10,000 of each state.

        Raises:
            ServiceError: If the scheduler is away or refuses.
        """
        for state in UNFINISHED:
            async for jobs in self._list_jobs(state):
                yield jobs

    async def _list_jobs(self, state: pb.Job.State.ValueType) -> AsyncIterator[list[pb.Job]]:
        request = pb.ListJobsRequest(parent="projects/-", page_size=PAGE_SIZE, state=state)
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
        self._graders = GraderServiceStub(channel)

    async def merge(self, adapter_sha256: str) -> str:
        """Return the hash of the whole model that an adapter and its base make, at hand as a base.

        Raises:
            ServiceError: If the trainer is away or refuses.
        """
        request = trainer_pb2.MergeAdapterRequest(adapter_sha256=adapter_sha256)
        answer = await call(self._stub.MergeAdapter, request, timeout_s=MERGE_TIMEOUT_S)
        return str(answer.merged_sha256)

    async def grade(self, grader: Grader, sample: Sample) -> float:
        """Return the score of one answer, in [0, 1].

        Raises:
            ServiceError: If the grader is wrong, cannot score it, or cannot be asked.
        """
        request = grader_pb2.RunGraderRequest(grader=grader)
        request.samples.add(
            item=sample.item, output_text=sample.output_text, output_tools=sample.output_tools
        )
        answer = await call(self._graders.RunGrader, request, timeout_s=GRADE_TIMEOUT_S)
        (found,) = answer.results
        if not found.HasField("reward"):
            raise FailedPrecondition(found.error, reason="NOT_GRADED", grader=grader.name)
        return float(found.reward)
