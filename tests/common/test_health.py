"""The health check of containers, as a command against real servers."""

import asyncio
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from services.common.rpc import Server
from tests.servers import free_port


def ask(address: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "services.common.health", address]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


async def test_a_server_that_serves_is_healthy():
    server = Server("some.attune")
    port = await server.start("127.0.0.1", 0)
    answer = await asyncio.to_thread(ask, f"127.0.0.1:{port}")
    await server.stop()
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_port_that_nobody_listens_on_is_not():
    address = f"127.0.0.1:{free_port()}"
    answer = ask(address)
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"{address}: UNAVAILABLE")


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, *_arguments):
        pass


@pytest.mark.parametrize(("path", "code"), [("/health", 0), ("/other", 1)])
def test_a_page_is_healthy_when_it_answers_well(path, code):
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        answer = ask(f"http://127.0.0.1:{server.server_port}{path}")
        server.shutdown()
    assert answer.returncode == code
    assert ("status 503" in answer.stderr) == (code == 1)
