"""An engine that answers at once: the far end of the hop's cost, where vLLM's own noise hides 1 ms.

Run as a process of its own: `python -m bench.instant_engine MODEL FOLDER`; it prints its port. It
speaks the routes of vLLM that serving uses. An answer says what `parity.jsonl` of the adapter says
of the same messages, else one word a token: `max_tokens` of them, `pause_s` seconds apart where the
request has that field.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, cast

import uvloop

WORDS_MAX = 10_000
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
Body = dict[str, Any]


class Engine:
    """What it holds."""

    def __init__(self, model: str, folder: Path) -> None:
        """Hold a base model alone."""
        self.lines: dict[str, list[Body]] = {model: read_lines(folder)}

    def answer(self, method: str, path: str, body: Body) -> tuple[int, Body]:
        """Return status and body of everything but a completion."""
        name = body.get("lora_name", "")
        if (method, path) == ("GET", "/v1/models"):
            return 200, {"data": [{"id": name} for name in self.lines]}
        if path == "/v1/load_lora_adapter":
            self.lines[name] = read_lines(Path(body["lora_path"]))
        if path == "/v1/unload_lora_adapter":
            self.lines.pop(name, None)
        return 200, {}

    def complete(self, body: Body) -> Body:
        """Return a whole answer."""
        model = body["model"]
        for line in self.lines[model]:
            if line["messages"] == body["messages"]:
                text, logprobs = line["answer"], line["logprobs"]
                ids, prompt_ids = line["answer_token_ids"], line["prompt_token_ids"]
                break
        else:
            text, logprobs, ids, prompt_ids = "yes", [-0.1], [7], [1]
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "logprobs": {"content": [{"logprob": value} for value in logprobs]},
                    "finish_reason": "stop",
                    "token_ids": ids,
                }
            ],
            "usage": {"prompt_tokens": len(prompt_ids), "completion_tokens": len(ids)},
            "prompt_token_ids": prompt_ids,
        }


class Connection(asyncio.Protocol):
    """One caller."""

    def __init__(self, engine: Engine) -> None:
        """Keep the engine."""
        self._engine = engine
        self._data = b""
        self._writing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _error: Exception | None) -> None:
        """Say no more to who is gone."""
        if self._writing is not None:
            self._writing.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is whole."""
        self._data += data
        head, found, rest = self._data.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
        size = int(fields.get("content-length", 0))
        if not found or len(rest) < size:
            return
        self._data = rest[size:]
        method, path, _ = head.split(b" ", 2)
        body = json.loads(rest[:size] or b"{}")
        if not path.endswith(b"/completions"):
            self._send(*self._engine.answer(method.decode(), path.decode(), body))
        elif body.get("model") not in self._engine.lines:
            self._send(404, {"error": {"message": f"The model `{body.get('model')}` is unknown."}})
        elif not body.get("stream"):
            self._send(200, self._engine.complete(body))
        else:
            self._writing = asyncio.create_task(self._stream(body))

    def _send(self, status: int, body: Body) -> None:
        data = json.dumps(body, separators=(",", ":")).encode()
        head = f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\n"
        self._transport.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)

    async def _stream(self, body: Body) -> None:
        event = {
            "id": "chatcmpl-0123456789abcdef",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": body["model"],
            "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}],
        }
        data = b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
        piece = b"%x\r\n%s\r\n" % (len(data), data)
        self._transport.write(EVENTS)
        for _ in range(min(WORDS_MAX, body.get("max_tokens", 16))):
            self._transport.write(piece)
            await asyncio.sleep(body.get("pause_s", 0))
        self._transport.write(LAST)


def read_lines(folder: Path) -> list[Body]:
    """Return what an artefact says of its answers; nothing without such a file."""
    path = folder / "parity.jsonl"
    return [json.loads(row) for row in path.read_text().splitlines()] if path.exists() else []


async def serve(model: str, folder: Path) -> None:
    """Answer until the process is ended."""
    engine = Engine(model, folder)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(engine), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1], Path(sys.argv[2])))
