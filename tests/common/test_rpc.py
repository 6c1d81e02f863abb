"""Guard, server and client together, over real gRPC."""

import asyncio
import socket

import grpc
import pytest
from attune.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common import errors
from services.common.peers import call, channel, stream
from services.common.rpc import Server

NAME = "projects/default/jobs/a1"
SERVICE = scheduler_pb2.DESCRIPTOR.services_by_name["SchedulerService"].full_name


class Servicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Misbehaves by request."""

    def __init__(self) -> None:
        self.remaining_s: float | None = None
        self.ended = asyncio.Event()

    async def GetJob(self, request, context):
        self.remaining_s = context.time_remaining()
        if request.name.endswith("missing"):
            raise errors.NotFound("No such job.", reason="JOB_NOT_FOUND", name=request.name)
        if request.name.endswith("bug"):
            raise RuntimeError("secret detail")
        if request.name.endswith("wrong"):
            raise errors.invalid(
                [errors.Violation(f"line {n}", "RULE", "x" * 200) for n in range(100)]
            )
        if request.name.endswith("slow"):
            await asyncio.sleep(60)
        return scheduler_pb2.Job(name=request.name)

    async def ListJobs(self, request, context):
        raise errors.Unavailable("Not now.", reason="BUSY", retry_after_s=2.5)

    async def WatchJob(self, request, context):
        try:
            yield scheduler_pb2.Job(name=request.name)
            if request.name.endswith("bug"):
                raise RuntimeError("secret detail")
            await asyncio.sleep(60)
        finally:
            self.ended.set()


@pytest.fixture
async def served():
    servicer, server = Servicer(), Server("test.attune")
    server.add(scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server, servicer, SERVICE)
    port = await server.start("127.0.0.1", 0)
    async with channel(f"127.0.0.1:{port}") as connection:
        yield servicer, connection, server, port
    await server.stop()


def stub_of(served) -> scheduler_pb2_grpc.SchedulerServiceStub:
    return scheduler_pb2_grpc.SchedulerServiceStub(served[1])


async def test_an_error_arrives_as_the_class_that_was_raised(served):
    with pytest.raises(errors.NotFound, match="No such job") as caught:
        await call(stub_of(served).GetJob, scheduler_pb2.GetJobRequest(name=NAME + "-missing"))
    assert caught.value.reason == "JOB_NOT_FOUND"
    assert caught.value.metadata == {"name": NAME + "-missing"}


async def test_violations_arrive_with_field_rule_and_text(served):
    with pytest.raises(errors.InvalidArgument) as caught:
        await call(stub_of(served).GetJob, scheduler_pb2.GetJobRequest())
    assert [(each.field, each.rule) for each in caught.value.violations] == [("name", "REQUIRED")]
    assert "left out" in caught.value.violations[0].message


async def test_more_violations_than_a_header_holds_are_counted(served):
    with pytest.raises(errors.InvalidArgument) as caught:
        await call(stub_of(served).GetJob, scheduler_pb2.GetJobRequest(name=NAME + "-wrong"))
    *shown, last = caught.value.violations
    assert [each.field for each in shown] == [f"line {n}" for n in range(len(shown))]
    assert last.message.startswith(f"{100 - len(shown)} more")


async def test_the_advice_when_to_retry_arrives(served):
    with pytest.raises(errors.Unavailable) as caught:
        await call(
            stub_of(served).ListJobs, scheduler_pb2.ListJobsRequest(parent="projects/default")
        )
    assert caught.value.retry_after_s == 2.5


@pytest.mark.parametrize("method", ["GetJob", "WatchJob"])
async def test_the_text_of_an_unexpected_error_does_not_leak(served, method):
    stub = stub_of(served)
    with pytest.raises(errors.Internal) as caught:
        if method == "GetJob":
            await call(stub.GetJob, scheduler_pb2.GetJobRequest(name=NAME + "-bug"))
        else:
            async for _ in stream(stub.WatchJob, scheduler_pb2.WatchJobRequest(name=NAME + "-bug")):
                pass
    assert "secret" not in str(caught.value)


async def test_a_deadline_is_kept_by_the_server_too(served):
    with pytest.raises(errors.DeadlineExceeded):
        request = scheduler_pb2.GetJobRequest(name=NAME + "-slow")
        await call(stub_of(served).GetJob, request, timeout_s=0.2)


async def test_a_call_without_a_deadline_gets_one(served, monkeypatch):
    monkeypatch.setattr("services.common.rpc.UNARY_DEADLINE_S", 0.1)
    with pytest.raises(aio.AioRpcError) as caught:
        await stub_of(served).GetJob(scheduler_pb2.GetJobRequest(name=NAME + "-slow"))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "longer" in caught.value.details()


async def test_a_huge_message_is_refused_with_its_size(served):
    request = scheduler_pb2.GetJobRequest(name="x" * (5 * 1024 * 1024))
    with pytest.raises(errors.ResourceExhausted) as caught:
        await call(stub_of(served).GetJob, request)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"


async def test_a_cancelled_stream_ends_on_the_server(served):
    request = scheduler_pb2.WatchJobRequest(name=NAME)
    async for job in stream(stub_of(served).WatchJob, request):
        assert job.name == NAME
        break
    await asyncio.wait_for(served[0].ended.wait(), 5)


async def test_health_says_serving_and_then_not(served):
    _, connection, server, _ = served
    health = health_pb2_grpc.HealthStub(connection)
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
    watching = health.Watch(request)
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
    stopping = asyncio.create_task(server.stop())
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watching.cancel()
    await stopping


async def test_a_taken_port_is_one_line_that_says_what_to_do():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=rf"Port {port} .*choose another"):
            await Server("test.attune").start("127.0.0.1", port)
