"""A language-model server that does what an attacker would have it do."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request: recorded, then answered by the next behaviour; the last one repeats."""

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        server = self.server
        server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        position = min(len(server.requests), len(server.behaviours)) - 1
        with server.lock:
            server.at_once += 1
            server.at_once_max = max(server.at_once_max, server.at_once)
        with contextlib.suppress(OSError):  # The client hung up, as it should.
            server.behaviours[position](self)
        with server.lock:
            server.at_once -= 1

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class ModelServer(ThreadingHTTPServer):
    """Speaks as much of the chat-completions API as a client needs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict, dict]] = []
        self.behaviours: list[Behaviour] = []
        self.at_once = self.at_once_max = 0
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def close(self) -> None:
        self.stopped.set()
        self.shutdown()
        self.server_close()
        self._thread.join()


def completion(text: str, **usage: int) -> bytes:
    """Return a completion as the API shapes it."""
    message = {"role": "assistant", "content": text}
    body = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15} | usage,
    }
    return json.dumps(body).encode()


def says(value: object, **usage: int) -> Behaviour:
    """Answer with a JSON object, or with a text as it is."""
    text = value if isinstance(value, str) else json.dumps(value)
    return lambda handler: handler.answer(completion(text, **usage))


def fails(status: int) -> Behaviour:
    """Answer with an error."""
    return lambda handler: handler.answer(b'{"error": {"message": "no"}}', status)


def sends(body: bytes, **headers: str) -> Behaviour:
    """Answer with these bytes."""
    return lambda handler: handler.answer(body, **headers)


def redirects(to: str) -> Behaviour:
    """Send the client elsewhere."""
    return lambda handler: handler.answer(b"", 307, Location=to)


def hangs_up(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.connection.close()


def is_slow(handler: Handler) -> None:
    """Answer rightly, but too late."""
    handler.server.stopped.wait(5)
    handler.answer(completion("{}"))


def trickles(handler: Handler) -> None:
    """Send a byte now and then, so that no single read is late."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    ends = time.monotonic() + 5
    while time.monotonic() < ends and not handler.server.stopped.is_set():
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.02)


def floods(handler: Handler) -> None:
    """Send without end, as fast as it is taken."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    handler.server.sent = 0
    while handler.server.sent < 512 * 1024 * 1024:
        handler.wfile.write(b" " * 65536)
        handler.server.sent += 65536
