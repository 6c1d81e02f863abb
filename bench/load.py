"""Makes load on an OpenAI-compatible address and times the answers; as little code as HTTP allows.

One connection a stream, kept alive, on bare asyncio: what the client itself takes is in every
figure, for it shares the machine's cores with what it measures.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import uvloop

CHAT = "/v1/chat/completions"
VERSION_HEADER = "x-attune-model-version"
T = TypeVar("T")
END = b"data: [DONE]"
HEAD_BYTES_MAX = 64 * 1024
CONNECT_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Answer:
    """One answer as it came."""

    status: int
    version: str
    """What the header names; empty without one."""
    content: bytes
    """The body: one object, or events."""
    first_s: float
    """Until the first piece of the body."""
    total_s: float
    begin_s: float = 0.0
    """When it was asked, on the clock of `time.perf_counter`."""
    number: int = 0
    """Of the request, from 0."""

    @property
    def end_s(self) -> float:
        """When it was complete, on the same clock."""
        return self.begin_s + self.total_s

    @property
    def failed(self) -> bool:
        """Whether it is no whole answer."""
        if self.status != 200 or b'"error"' in self.content[:16]:
            return True
        return self.content.startswith(b"data:") and END not in self.content[-32:]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The pieces of a streamed answer."""
        lines = self.content.split(b"\n")
        return [json.loads(line[5:]) for line in lines if line[:5] == b"data:" and END not in line]

    @property
    def text(self) -> str:
        """What was said, streamed or not."""
        if not self.content.startswith(b"data:"):
            return str(json.loads(self.content)["choices"][0]["message"]["content"])
        deltas = [event["choices"][0]["delta"] for event in self.events if event.get("choices")]
        return "".join(delta.get("content") or "" for delta in deltas)


class Stream:
    """One connection, which asks one question after another."""

    def __init__(self, address: str, key: str = "") -> None:
        """Keep where to ask; the first question connects.

        Args:
            address: Such as `http://127.0.0.1:7180`.
            key: Of the endpoint; none is sent when empty.
        """
        parts = urlsplit(address)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        authorization = f"authorization: Bearer {key}\r\n" if key else ""
        self._head = f"host: {self._host}\r\n{authorization}content-type: application/json\r\n"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, body: dict[str, Any], path: str = CHAT) -> Answer:
        """Return the answer to one request; one that cannot be had has status 0.

        Args:
            body: Of the request.
            path: Of the route.
        """
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\n{self._head}content-length: {len(data)}\r\n\r\n"
        begin_s = time.perf_counter()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._exchange(head.encode() + data, begin_s)
        except (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            self.close()
            spent_s = time.perf_counter() - begin_s
            return Answer(0, "", repr(error).encode(), spent_s, spent_s)

    def close(self) -> None:
        """Close the connection; the next question makes another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _exchange(self, request: bytes, begin_s: float) -> Answer:
        if self._reader is None or self._writer is None:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._reader, self._writer = await asyncio.open_connection(
                    self._host, self._port, limit=HEAD_BYTES_MAX
                )
        reader = self._reader
        self._writer.write(request)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        pieces = []
        first_s = 0.0
        if "content-length" in headers:
            pieces.append(await reader.readexactly(int(headers["content-length"])))
            first_s = time.perf_counter() - begin_s
        else:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                pieces.append((await reader.readexactly(size + 2))[:-2])
                first_s = first_s or time.perf_counter() - begin_s
            await reader.readexactly(2)
        total_s = time.perf_counter() - begin_s
        status, version = int(lines[0].split(" ")[1]), headers.get(VERSION_HEADER, "")
        if headers.get("connection") == "close":
            self.close()
        return Answer(status, version, b"".join(pieces), first_s, total_s)


@dataclass(frozen=True)
class Load:
    """The answers of one burst of load."""

    answers: list[Answer]
    seconds: float

    @property
    def failed_count(self) -> int:
        """Requests without a whole answer."""
        return sum(answer.failed for answer in self.answers)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.answers) / self.seconds

    def first_ms(self, percent: float) -> float:
        """Return a percentile of the time to the first piece, in milliseconds.

        Args:
            percent: In [0, 100].
        """
        return percentile([answer.first_s * 1000 for answer in self.answers], percent)


async def burst(
    address: str,
    body_of: Callable[[int], dict[str, Any]],
    *,
    streams: int,
    count: int | None = None,
    stop: asyncio.Event | None = None,
    key: str = "",
) -> Load:
    """Ask over `streams` connections, each its next question when the one before is answered.

    Args:
        address: Of the endpoint or of an engine.
        body_of: Makes the body of a request from its number, from 0.
        streams: Connections.
        count: Requests, all together; as many as come until `stop` when None.
        stop: Ends it when set; what was asked by then is still answered.
        key: Of the endpoint.
    """
    opened = [Stream(address, key) for _ in range(streams)]
    numbers = itertools.count() if count is None else iter(range(count))
    answers: list[Answer] = []

    async def ask(stream: Stream) -> None:
        for number in numbers:
            if stop is not None and stop.is_set():
                return
            begin_s = time.perf_counter()
            answer = await stream.ask(body_of(number))
            answers.append(replace(answer, begin_s=begin_s, number=number))

    begin_s = time.perf_counter()
    try:
        await asyncio.gather(*(ask(stream) for stream in opened))
    finally:
        for stream in opened:
            stream.close()
    return Load(answers, time.perf_counter() - begin_s)


def percentile(values: list[float], percent: float) -> float:
    """Return the value below which a share of values lies, by the nearest rank.

    Args:
        values: At least one.
        percent: In [0, 100].
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a bench's coroutine on the quicker event loop; a signal to end lets it clean up."""

    async def ended_by_signal() -> T:
        working = asyncio.current_task()
        assert working is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
        return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(ended_by_signal())
