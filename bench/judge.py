"""A judge that answers at once, behind as much of the OpenAI API as a judge needs.

What an answer gets is the share of words that it has in common with the reference, which is the
message before it, so that a judged reward costs requests and nothing else.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORD = re.compile(r"\w+")
MARK = re.compile(r"</?data \w+>")
"""What the trainer puts around texts that are judged."""


def shared_words(answer: str, reference: str) -> float:
    """Return the F1 of the words that two texts share, in [0, 1]."""
    ours, theirs = (Counter(WORD.findall(text.lower())) for text in (answer, reference))
    return 2 * (ours & theirs).total() / max(1, ours.total() + theirs.total())


@contextmanager
def a_judge() -> Iterator[str]:
    """Run a judge in this process and yield its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # Connections stay open, as with a real endpoint.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:  # http.server's name.
        """Judge the last message by the one before it."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reference, answer = (MARK.sub("", one["content"]) for one in body["messages"][-2:])
        judgement = json.dumps({"score": shared_words(answer, reference)})
        message = {"role": "assistant", "content": judgement}
        self._send(
            {
                "id": "judgement",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )

    def _send(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""
