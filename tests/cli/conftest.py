"""A home with canned services and a canned OpenAI endpoint, and a way to run commands in it."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from cli.__main__ import main
from cli.endpoints import Endpoints
from cli.home import Home
from tests.cli.canned import Running, Services


class OpenAiHandler(BaseHTTPRequestHandler):
    """Streams a fixed answer, or refuses a model that it does not know."""

    authorizations: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.authorizations.append(self.headers["Authorization"])
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["model"] == "missing":
            text = "There is no model 'missing'."
            return self._send(404, "application/json", json.dumps({"error": {"message": text}}))
        if not body.get("stream"):
            message = {"role": "assistant", "content": "Good day"}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            return self._send(200, "application/json", json.dumps(_answer([choice])))
        chunks = [
            _answer([{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
            for piece in ("Good ", "day")
        ]
        lines = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        return self._send(200, "text/event-stream", lines + "data: [DONE]\n\n")

    def _send(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def _answer(choices: list[dict]) -> dict:
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}


@dataclass
class Result:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def openai_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), OpenAiHandler)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture
def services(home: Home, openai_url: str) -> Iterator[Services]:
    running = Running()
    running.services.openai = openai_url
    running.services.authorizations = OpenAiHandler.authorizations
    running.start()
    address = f"127.0.0.1:{running.port}"
    Endpoints(*[address] * 4, openai_url, "http://127.0.0.1:1", "nats://127.0.0.1:1").write(home)
    yield running.services
    running.stop()


@pytest.fixture
def attune(home: Home, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command of `attune` in the home."""

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return run
