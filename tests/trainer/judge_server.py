"""A judge for tests: a real HTTP server that judges by counting words.

It reads the prompts that `services.trainer.grading.judge` writes: what stands between the marks is
material. A score is the share of the wanted words that the last material holds; the wanted words
follow `wants:` in the rules, outside the marks. Of two answers, the one with more of them wins.
"""

import contextlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MARKED = re.compile(r"<data (\w{16})>\n(.*?)\n</data \1>", re.DOTALL)
WANTS = re.compile(r"wants:\s*([\w ]+)")


class JudgeServer(ThreadingHTTPServer):
    """Speaks as much of the chat-completions API as a judge needs; use it as a context."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict] = []
        """Bodies of the requests, in the order in which they came."""
        self.keys: list[str] = []
        """Their Authorization headers."""
        self.failures = 0
        """Requests that are still to be failed."""
        self.failure_status = 503
        self.garbage = 0
        """Replies that are still to be garbage."""
        self.garbage_text = "I would say it is rather good."
        self.refuses = False
        self.refuses_schema = False
        self.delay_s = 0.0
        self.first_wins = False
        """Whether the first of two answers always wins, as with a biased judge."""
        self.at_once = self.at_once_max = 0
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> "JudgeServer":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def takes(self, counter: str) -> bool:
        """Count one of the failures that were asked for, if there is one left."""
        with self.lock:
            left = getattr(self, counter)
            setattr(self, counter, max(0, left - 1))
            return left > 0

    def judge(self, body: dict) -> dict:
        """Return the judgement, in the form that the request asks for."""
        text = "\n".join(message["content"] for message in body["messages"])
        material = [match[2] for match in MARKED.finditer(text)]
        rules = MARKED.sub("", text)
        # The frame names the marks themselves, which hold no material.
        wanted = [word for found in WANTS.findall(rules) for word in found.split()]
        shares = [_share(wanted, each) for each in material]
        if "better" in rules and '"first"' in rules:
            first, second = shares[-2:]
            if self.first_wins:
                return {"better": "first"}
            better = "tie" if first == second else "first" if first > second else "second"
            return {"better": better}
        share = shares[-1] if shares else 0.0
        if found := re.search(r'"label": one of (\[.*?\])', rules):
            labels = json.loads(found[1])
            return {"label": labels[0] if share >= 0.5 else labels[-1]}
        low, high = re.search(r"a number from (\S+) to ([^\s}]+)", rules).groups()
        return {"score": float(low) + share * (float(high) - float(low))}


def _share(wanted: list[str], text: str) -> float:
    held = set(re.findall(r"\w+", text.lower()))
    return sum(word in held for word in wanted) / len(wanted) if wanted else 0.0


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.requests.append(body)
            server.keys.append(self.headers.get("Authorization", ""))
            server.at_once += 1
            server.at_once_max = max(server.at_once_max, server.at_once)
        try:
            with contextlib.suppress(OSError):  # The client hung up, as it may.
                self._reply(server, body)
        finally:
            with server.lock:
                server.at_once -= 1

    def _reply(self, server: JudgeServer, body: dict) -> None:
        if server.delay_s:
            time.sleep(server.delay_s)
        if server.takes("failures"):
            return self._send(server.failure_status, {"error": {"message": "secret detail"}})
        if server.refuses_schema and "response_format" in body:
            error = {"message": "response_format is not supported"}
            return self._send(400, {"error": error})
        message = {"role": "assistant", "content": json.dumps(server.judge(body))}
        if server.takes("garbage"):
            message["content"] = server.garbage_text
        if server.refuses:
            message |= {"content": None, "refusal": "I do not judge people."}
        return self._send(
            200,
            {
                "id": "j",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
            },
        )

    def _send(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After-Ms", "5")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        pass
