"""SchedulerService: decodes, calls, encodes."""

from __future__ import annotations  # grpc classes are generic in their stubs only.

from collections.abc import AsyncIterator
from typing import Any

from attune.scheduler.v1 import fleet_pb2, scheduler_pb2, scheduler_pb2_grpc
from attune.spec.v1 import compute_pb2

from services.common import names
from services.common.paging import read_page
from services.scheduler import approval, wire
from services.scheduler.desk import Desk

JOB_NAME = "projects/{project}/jobs/{job}"


class SchedulerServicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Answers whoever plans, watches or cancels."""

    def __init__(self, desk: Desk) -> None:
        """Keep what does the work."""
        self._desk = desk

    async def EstimateCompute(
        self, request: scheduler_pb2.EstimateComputeRequest, context: Any
    ) -> compute_pb2.ComputePlan:
        return wire.plan_to_proto(await self._desk.estimate(request.spec, request.data_shape))

    async def GetJob(self, request: scheduler_pb2.GetJobRequest, context: Any) -> scheduler_pb2.Job:
        names.parse(request.name, JOB_NAME)
        return await self._desk.get(request.name)

    async def ListJobs(
        self, request: scheduler_pb2.ListJobsRequest, context: Any
    ) -> scheduler_pb2.ListJobsResponse:
        if request.spec:
            names.parse(request.spec, approval.SPEC_NAME, field="spec")
        parent = names.parse(
            request.parent, "projects/{project}", field="parent", wildcard="project"
        )
        query = f"ListJobs {request.parent} {request.state} {request.spec}"

        async def fetch(before_id: str, limit: int) -> list[tuple[str, scheduler_pb2.Job]]:
            found = await self._desk.list_jobs(
                parent["project"],
                limit=limit,
                before_id=before_id,
                state=wire.state_from_proto(request.state),
                spec=request.spec,
            )
            return [(names.last_part(job.name), job) for job in found]

        page, token = await read_page(request, query, fetch)
        return scheduler_pb2.ListJobsResponse(jobs=page, next_page_token=token)

    async def WatchJob(
        self, request: scheduler_pb2.WatchJobRequest, context: Any
    ) -> AsyncIterator[scheduler_pb2.Job]:
        names.parse(request.name, JOB_NAME)
        async for job in self._desk.watch(request.name):
            yield job

    async def CancelJob(
        self, request: scheduler_pb2.CancelJobRequest, context: Any
    ) -> scheduler_pb2.Job:
        names.parse(request.name, JOB_NAME)
        return await self._desk.cancel(request)

    async def PauseJob(
        self, request: scheduler_pb2.PauseJobRequest, context: Any
    ) -> scheduler_pb2.Job:
        names.parse(request.name, JOB_NAME)
        return await self._desk.pause(request)

    async def ResumeJob(
        self, request: scheduler_pb2.ResumeJobRequest, context: Any
    ) -> scheduler_pb2.Job:
        names.parse(request.name, JOB_NAME)
        return await self._desk.resume(request)

    async def SetJobPriority(
        self, request: scheduler_pb2.SetJobPriorityRequest, context: Any
    ) -> scheduler_pb2.Job:
        names.parse(request.name, JOB_NAME)
        return await self._desk.set_priority(request)

    async def ListComputeProfiles(
        self, request: fleet_pb2.ListComputeProfilesRequest, context: Any
    ) -> fleet_pb2.ListComputeProfilesResponse:
        async def fetch(after_id: str, limit: int) -> list[tuple[str, fleet_pb2.ComputeProfile]]:
            found = await self._desk.list_profiles(limit=limit, after_id=after_id)
            return [(profile.id, profile) for profile in found]

        page, token = await read_page(request, "ListComputeProfiles", fetch)
        return fleet_pb2.ListComputeProfilesResponse(profiles=page, next_page_token=token)

    async def ListNodes(
        self, request: fleet_pb2.ListNodesRequest, context: Any
    ) -> fleet_pb2.ListNodesResponse:
        async def fetch(after_id: str, limit: int) -> list[tuple[str, fleet_pb2.ComputeNode]]:
            found = await self._desk.list_nodes(limit=limit, after_id=after_id)
            return [(node.id, node) for node in found]

        page, token = await read_page(request, "ListNodes", fetch)
        return fleet_pb2.ListNodesResponse(nodes=page, next_page_token=token)
