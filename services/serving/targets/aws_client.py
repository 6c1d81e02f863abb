"""Answers of models that AWS serves, as an engine of ours gives them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from services.common.errors import Unavailable
from services.serving.engines.engine_client import CHAT, Body, EngineRefused
from services.serving.targets.aws import ANSWER_TIMEOUT_S, RETRY_AFTER_S, Aws, AwsRefused
from services.serving.targets.target import TargetFailed

LINE_BYTES_MAX = 1024 * 1024
PROBE = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 1, "temperature": 0.0}
AWAY, DENIED, STRANGE = "AWS_AWAY", "AWS_DENIED", "AWS_STRANGE_ANSWER"
OURS = ("model", "return_token_ids")
"""Fields of a body that mean something to engines of ours only."""

T = TypeVar("T")
Send = Callable[[bytes], Awaitable[bytes]]
"""Returns the whole answer to a body."""
Open = Callable[[bytes], Awaitable[tuple[Any, Iterator[bytes]]]]
"""Returns the event stream of an answer, to be closed, and the bytes that its events carry."""


class AwsClient:
    """Asks one model; made for one request."""

    def __init__(self, aws: Aws, send: Send, begin: Open, *, drop: tuple[str, ...] = ()) -> None:
        """Keep how the model is asked.

        Args:
            aws: Runs what blocks.
            send: Asks for a whole answer.
            begin: Asks for a streamed one.
            drop: Fields that the service does not take in a body.
        """
        self._aws = aws
        self._send = send
        self._begin = begin
        self._drop = {*OURS, *drop}
        self._closing: set[asyncio.Future[None]] = set()
        """Kept, for a task that nothing refers to may vanish."""

    async def ask(self, path: str, body: Body, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Body:
        """Return the whole answer to a completion; the body alone says of which kind it is.

        Raises:
            EngineRefused: If the model says no.
            Unavailable: If it cannot be reached, or does not answer in OpenAI's shape.
        """
        try:
            async with asyncio.timeout(timeout_s):
                answer = _parse(await _translated(self._send(self._encode(body))))
        except TimeoutError:
            raise _unavailable(f"it did not answer within {timeout_s:g} s") from None
        if "choices" not in answer:
            raise _strange(json.dumps(answer)[:200])
        return answer

    @asynccontextmanager
    async def stream(self, path: str, body: Body) -> AsyncIterator[AsyncIterator[list[Body]]]:
        """Open a streamed completion and yield its chunks; leaving the block ends it.

        Raises:
            EngineRefused: On entry if the model says no; in the stream if it fails half-way.
            Unavailable: If it cannot be reached, or ends before the answer does.
        """
        beginning = asyncio.ensure_future(self._begin(self._encode(body)))
        try:
            events, pieces = await _translated(asyncio.shield(beginning))
        except asyncio.CancelledError:
            # The thread goes on; what it opens would answer, and be billed, to its end.
            beginning.add_done_callback(self._close_unwanted)
            raise
        try:
            yield self._batches(pieces)
        finally:
            await asyncio.shield(self._close(events))

    def _close_unwanted(self, beginning: asyncio.Future[tuple[Any, Iterator[bytes]]]) -> None:
        """Close a stream that was opened after its client had gone."""
        if not beginning.cancelled() and beginning.exception() is None:
            closing = asyncio.ensure_future(self._close(beginning.result()[0]))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _close(self, events: Any) -> None:
        await self._aws.run(events.close, answers=True)

    async def _batches(self, pieces: Iterator[bytes]) -> AsyncIterator[list[Body]]:
        rest = b""
        is_ended = False
        while True:
            piece = await _translated(self._aws.run(lambda: next(pieces, None), answers=True))
            lines = (rest + (piece or b"\n")).split(b"\n")
            rest = lines.pop()
            if len(rest) > LINE_BYTES_MAX:
                raise _strange(f"a line of over {LINE_BYTES_MAX:,} bytes")
            # Bedrock's events carry one chunk each and no line ends.
            if rest.startswith(b"{") and _is_whole(rest):
                lines, rest = [*lines, rest], b""
            batch: list[Body] = []
            for line in lines:
                data = line.strip().removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    if batch:
                        yield batch
                    return
                if not data or data.startswith((b":", b"event:")):
                    continue
                chunk = _parse(data)
                if "error" in chunk:
                    if batch:
                        yield batch
                    raise EngineRefused(500, chunk)
                choices = chunk.get("choices") or []
                is_ended = is_ended or any(one.get("finish_reason") for one in choices)
                batch.append(chunk)
            if batch:
                yield batch
            if piece is None:
                break
        if not is_ended:
            raise _unavailable("it ended before the answer did")

    def _encode(self, body: Body) -> bytes:
        return json.dumps({key: body[key] for key in body if key not in self._drop}).encode()


async def _translated(work: Awaitable[T]) -> T:
    """Return what a call returns, its refusals as those of an engine.

    Raises:
        EngineRefused: If the model, or AWS before it, refuses the request itself.
        Unavailable: If it is refused for another reason.
    """
    try:
        return await work
    except AwsRefused as error:
        found = error.response
        # SageMaker capitalises these names, Bedrock does not.
        status = int(found.get("OriginalStatusCode") or found.get("originalStatusCode") or 0)
        said = str(found.get("OriginalMessage") or found.get("originalMessage") or error.message)
        is_validation = error.code == "ValidationException"  # Bedrock's; of the body.
        if (400 <= status < 500 and status != 404) or is_validation:
            refusal = _try_parse(said)
            if not isinstance(refusal.get("error"), dict):
                refusal = {"error": {**refusal, "message": refusal.get("message") or said}}
            raise EngineRefused(status or 400, refusal) from None
        if re.search("AccessDenied|Forbidden", error.code):
            raise _unavailable(error.code, DENIED) from None
        raise _unavailable(f"{error.code} {status or ''}".strip()) from None


async def prove(client: AwsClient, remedy: str) -> None:
    """Let a model make one token before anything is sent to it.

    Args:
        client: Asks it.
        remedy: What to do if it does not speak OpenAI's shape.

    Raises:
        TargetFailed: If it will not answer, now or later.
        Unavailable: If it must be tried again.
    """
    try:
        await client.ask(CHAT, PROBE)
    except (EngineRefused, Unavailable) as error:
        if isinstance(error, Unavailable):
            if error.reason not in (DENIED, STRANGE):
                raise
            if error.reason == DENIED:
                remedy = "Allow this process to invoke it, then deploy it again."
        raise TargetFailed(
            f"It is up and does not answer a chat: {error.message} {remedy}"
        ) from None


def _parse(data: bytes) -> Body:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _strange(repr(data[:200]))
    return found


def _try_parse(text: str) -> Body:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_whole(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _strange(what: str) -> Unavailable:
    return Unavailable(
        f"What answers at AWS does not speak OpenAI's shape ({what}). Use a container with vLLM.",
        reason=STRANGE,
        retry_after_s=RETRY_AFTER_S,
    )


def _unavailable(what: str, reason: str = AWAY) -> Unavailable:
    return Unavailable(
        f"The model at AWS did not answer ({what}). Try again.",
        reason=reason,
        retry_after_s=RETRY_AFTER_S,
        cause=what,
    )
