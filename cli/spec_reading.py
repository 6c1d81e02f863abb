"""Reads plans, for the commands that show, compare and approve them."""

from __future__ import annotations

from attune.planner.v1 import planner_pb2
from attune.spec.v1 import spec_pb2

from cli.client import Client
from services.common.peers import call


async def read_spec(client: Client, name: str, revision: int = 0) -> spec_pb2.Spec:
    """Return the newest revision of a plan, or an earlier one."""
    request = planner_pb2.GetSpecRequest(name=name, revision=revision)
    found: spec_pb2.Spec = await call(client.planner.GetSpec, request)
    return found
