"""The planner, as the scheduler sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from attune.planner.v1 import planner_pb2, planner_pb2_grpc
from attune.spec.v1.spec_pb2 import Spec
from grpc import aio

from services.common import peers

PAGE = 50
"""Specs per page; a page of large specs must stay below the message limit."""
PAGES_MAX = 2000


class PlannerPeer:
    """Reads approved specs."""

    def __init__(self, channel: aio.Channel) -> None:
        """Keep the channel."""
        self._planner = planner_pb2_grpc.PlannerServiceStub(channel)

    async def list_approved(self) -> AsyncIterator[Spec]:
        """Yield every approved spec of every project, at most 100,000.

        Raises:
            ServiceError: If the planner refuses or is away.
        """
        token = ""
        for _ in range(PAGES_MAX):
            request = planner_pb2.ListSpecsRequest(
                parent="projects/-", page_size=PAGE, page_token=token, state=Spec.STATE_APPROVED
            )
            answer = await peers.call(self._planner.ListSpecs, request)
            for spec in answer.specs:
                yield spec
            token = answer.next_page_token
            if not token:
                return
