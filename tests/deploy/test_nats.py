"""The committed configurations of NATS, run by the server of the wheel."""

import asyncio
import contextlib
import logging
import os
import subprocess
from pathlib import Path

import nats
import pytest

from services.common.events import STREAM, Bus
from tests.deploy.compose import ROOT
from tests.servers import SCRIPTS, free_port, wait_for_port

NAMES = ("nats-1", "nats-2", "nats-3")
SUBJECT = "attune.v1.default.job.a1.queued"
PUBLISH_WAIT_S = 60


class Server:
    """One server with a committed file, its ports and folder made those of the test."""

    def __init__(self, folder: Path, name: str, file: str, routes: dict[str, int]) -> None:
        self.port = free_port()
        self._name, self._routes, self._folder = name, routes, folder / name
        place = self._folder / "etc" / "nats"
        for made in (place, self._folder / "run" / "secrets", self._folder / "data"):
            made.mkdir(parents=True)
        text = (ROOT / "deploy" / file).read_text()
        for port, ours in (("4222", self.port), ("6222", routes.get(name)), ("8222", free_port())):
            text = text.replace(port, str(ours))
        (place / file).write_text(text.replace('"/data"', f'"{self._folder / "data"}"'))
        authorization = 'authorization {\n  user: "attune"\n  password: "right"\n}\n'
        (self._folder / "run" / "secrets" / "nats_authorization").write_text(authorization)
        self._command = [SCRIPTS / "nats-server", "--config", place / file]
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        addresses = {
            f"NATS_ROUTE_{number}": f"nats://route:route@127.0.0.1:{port}"
            for number, port in enumerate(self._routes.values(), 1)
        }
        environ = {"NATS_NAME": self._name, "NATS_ROUTE_PASSWORD": "route", **addresses}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command, env={**os.environ, **environ}, stdout=log, stderr=log
            )
        wait_for_port(self.port)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def single(tmp_path):
    server = Server(tmp_path, "nats", "nats.conf", {})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def cluster(tmp_path):
    routes = {name: free_port() for name in NAMES}
    servers = [Server(tmp_path, name, "nats-cluster.conf", routes) for name in NAMES]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


async def publish(bus: Bus, event_id: str) -> None:
    """Publish, again and again while the cluster elects a leader, as the relay does."""
    async with asyncio.timeout(PUBLISH_WAIT_S):
        while True:
            try:
                return await bus.publish(SUBJECT, b"{}", event_id)
            except Exception as error:
                logging.getLogger(__name__).info("not yet: %s", error)
                await asyncio.sleep(0.2)


async def test_who_has_the_password_publishes_and_who_has_not_is_told(single, caplog):
    bus = Bus(f"nats://attune:right@127.0.0.1:{single.port}", "test")
    await publish(bus, "1")
    await bus.close()
    stranger = Bus(f"nats://attune:wrong@127.0.0.1:{single.port}", "test")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            await stranger.publish(SUBJECT, b"{}", "2")
    assert f"NATS at 127.0.0.1:{single.port} refuses our user and password" in caplog.text
    assert "wrong" not in caplog.text


async def test_a_cluster_of_three_keeps_every_event_when_one_is_killed(cluster):
    urls = ",".join(f"nats://attune:right@127.0.0.1:{server.port}" for server in cluster)
    bus = Bus(urls, "test", replica_count=3)
    await publish(bus, "1")
    cluster[0].stop()
    await publish(bus, "2")
    await bus.close()
    client = await nats.connect(urls.split(",")[1:])
    info = await client.jetstream().stream_info(STREAM)
    await client.close()
    assert info.config.num_replicas == 3
    assert info.state.messages == 2
