"""Asks each process whether it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cli.launcher.process_plan import SERVICES
from services.common.peers import channel

PROBE_TIMEOUT_S = 2.0


async def healthy(addresses: Mapping[str, str]) -> dict[str, bool]:
    """Return for each name whether it answers, all asked at once.

    Args:
        addresses: Of services as `host:port`, of `nats` and `mlflow` as URLs, of `engine` as the
            URL of its health page.
    """
    names = list(addresses)
    answers = await asyncio.gather(*(_probe(name, addresses[name]) for name in names))
    return dict(zip(names, answers, strict=True))


async def _probe(name: str, address: str) -> bool:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            if name in SERVICES:
                return await _grpc_serves(address)
            if name == "nats":
                return (await _first_line(address, b"")).startswith(b"INFO ")
            path = "" if name == "engine" else "/health"
            return b" 200 " in await _get(address + path)
    except (OSError, TimeoutError, aio.AioRpcError, ValueError):
        return False


async def _grpc_serves(address: str) -> bool:
    async with channel(address) as connection:
        stub = health_pb2_grpc.HealthStub(connection)
        request = health_pb2.HealthCheckRequest()
        answer = await stub.Check(request, timeout=PROBE_TIMEOUT_S)  # type: ignore[attr-defined]
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _get(url: str) -> bytes:
    """Return the status line of an HTTP answer."""
    host, _, path = url.removeprefix("http://").partition("/")
    request = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    return await _first_line(url, request.encode())


async def _first_line(url: str, request: bytes) -> bytes:
    address = url.split("://", 1)[1].partition("/")[0]
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        return await reader.readline()
    finally:
        writer.close()
