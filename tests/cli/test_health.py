"""Each process is asked in its own way whether it answers."""

from cli.launcher.health import healthy
from services.common.rpc import Server
from tests.servers import free_port


async def test_each_kind_of_process_is_asked(nats_url, openai_url):
    server = Server("test.attune")
    port = await server.start("127.0.0.1", 0)
    addresses = {"planner": f"127.0.0.1:{port}", "nats": nats_url}
    assert await healthy(addresses) == {"planner": True, "nats": True}
    await server.stop()


async def test_nobody_there_is_not_healthy():
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}"
    asked = {"trainer": address, "nats": f"nats://{address}", "mlflow": url, "engine": url}
    assert set((await healthy(asked)).values()) == {False}


async def test_an_http_server_must_say_that_it_is_well(openai_url):
    # The canned endpoint answers GET with 501.
    assert await healthy({"mlflow": openai_url.removesuffix("/v1")}) == {"mlflow": False}
