"""Asks whether a server answers: `python -m services.common.health ADDRESS`, for health checks.

ADDRESS is `host:port` of a gRPC server, or a URL. Exits with 0 when it answers well, else with 1
and one line that says why.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 5.0


def check(address: str) -> None:
    """Return if a server answers well.

    Args:
        address: `host:port` of a gRPC server that reports its health, or the URL of a page.

    Raises:
        SystemExit: With one line that says what it answers instead.
    """
    fault = _page_fault(address) if "://" in address else _grpc_fault(address)
    if fault:
        raise SystemExit(f"{address}: {fault}")


def _page_fault(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):
            return ""
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except (OSError, ValueError) as error:
        return str(error)


def _grpc_fault(address: str) -> str:
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # Its types name no methods.
        try:
            request = health_pb2.HealthCheckRequest()
            answer = stub.Check(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def main(arguments: list[str]) -> None:
    """Answer the command line.

    Raises:
        SystemExit: With 1 if the server does not answer well; with the usage.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise SystemExit(__doc__)
    check(arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
