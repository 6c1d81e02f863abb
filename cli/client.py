"""The services' stubs, for as long as one command runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar
from uuid import uuid4

from attune.planner.v1 import dataset_pb2_grpc, planner_pb2_grpc
from attune.scheduler.v1 import scheduler_pb2_grpc
from attune.serving.v1 import (
    deployment_pb2_grpc,
    engine_pb2_grpc,
    key_pb2_grpc,
    model_pb2_grpc,
    playground_pb2_grpc,
)
from attune.trainer.v1 import grader_pb2_grpc, trainer_pb2_grpc
from grpc import aio

from cli.endpoints import Endpoints
from cli.home import Home
from services.common.peers import call, channel

Result = TypeVar("Result")

PAGE_SIZE = 200
PAGES_MAX = 50


class Client:
    """One channel to each service; they connect on first use."""

    def __init__(self, endpoints: Endpoints) -> None:
        """Keep where the services are."""
        self.endpoints = endpoints
        self._channels: list[aio.Channel] = []

    async def __aenter__(self) -> Self:
        """Make the stubs."""
        planner, scheduler, trainer, serving = (
            self._open(address)
            for address in (
                self.endpoints.planner,
                self.endpoints.scheduler,
                self.endpoints.trainer,
                self.endpoints.serving,
            )
        )
        self.planner = planner_pb2_grpc.PlannerServiceStub(planner)
        self.datasets = dataset_pb2_grpc.DatasetServiceStub(planner)
        self.scheduler = scheduler_pb2_grpc.SchedulerServiceStub(scheduler)
        self.trainer = trainer_pb2_grpc.TrainerServiceStub(trainer)
        self.graders = grader_pb2_grpc.GraderServiceStub(trainer)
        self.versions = model_pb2_grpc.ModelServiceStub(serving)
        self.playground = playground_pb2_grpc.PlaygroundServiceStub(serving)
        self.deployments = deployment_pb2_grpc.DeploymentServiceStub(serving)
        self.engines = engine_pb2_grpc.EngineServiceStub(serving)
        self.keys = key_pb2_grpc.KeyServiceStub(serving)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Close the channels."""
        for connection in self._channels:
            await connection.close(None)

    def _open(self, address: str) -> aio.Channel:
        connection = channel(address)
        self._channels.append(connection)
        return connection


def with_client(work: Callable[[Client], Awaitable[Result]]) -> Result:
    """Run one command's work against what runs here.

    Raises:
        FailedPrecondition: If nothing runs here.
        ServiceError: What a service refused with.
    """

    async def run() -> Result:
        async with Client(Endpoints.read(Home.read())) as client:
            return await work(client)

    return asyncio.run(run())


async def all_pages(method: Any, request: Any) -> Any:
    """Return the first page of a list with the items of all others added, 10,000 at most.

    Args:
        method: A List method; its response has one repeated field beside the token.
        request: Its request; page size and token are set here.
    """
    request.page_size = PAGE_SIZE
    whole = None
    for _ in range(PAGES_MAX):
        page = await call(method, request)
        if whole is None:
            whole = type(page)()
        request.page_token = page.next_page_token
        whole.MergeFrom(page)
        if not request.page_token:
            break
    assert whole is not None
    whole.next_page_token = request.page_token
    return whole


def new_request_id() -> str:
    """Return a UUID; the same one goes with every retry of a call."""
    return str(uuid4())
