"""The engine's HTTP routes, as far as we use them; no other route of it is ever called."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from services.common.errors import Unavailable
from services.serving.engines.greedy import Answer, greedy_body

HEALTH = "/health"
CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
ROUTES = frozenset(
    {
        ("GET", HEALTH),
        ("GET", "/v1/models"),
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
        ("POST", CHAT),
        ("POST", TEXT),
    }
)
HEALTH_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 120.0
LOAD_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 600.0
SILENCE_MAX_S = 120.0
"""Longest pause between two pieces of a stream."""
END_TIMEOUT_S = 1.0
"""Longest wait for the end of a body after its last chunk."""
ENGINE_AWAY = "ENGINE_AWAY"
"""Reason of the error when a call could not be finished."""
LINE_BYTES_MAX = 1024 * 1024
CONNECTIONS_MAX = 4500
"""More than the endpoint answers at once: a look at an engine's health never waits for requests."""

Body = dict[str, Any]
CHUNKS = msgspec.json.Decoder(Body)
AWAY = (aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError, msgspec.MsgspecError)
"""What a call raises when the engine is not there, or is none."""


class EngineRefused(Exception):
    """The engine understood a request and said no."""

    def __init__(self, status: int, body: Body) -> None:
        """Keep the HTTP status and the engine's error in OpenAI's shape."""
        error = body.get("error")
        self.error: Body = error if isinstance(error, dict) else {}
        self.status = status
        self.message = str(self.error.get("message") or f"status {status}")
        super().__init__(self.message)


def new_session() -> aiohttp.ClientSession:
    """Return the HTTP session for an engine; whoever asked closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
        read_bufsize=LINE_BYTES_MAX,
        trust_env=False,  # A proxy of the environment must not see loopback.
    )


class EngineClient:
    """Calls one engine process."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        address: str,
        base_model: str,
        on_away: Callable[[], None],
    ) -> None:
        """Keep where the engine is.

        Args:
            session: From `new_session`.
            address: Such as `http://127.0.0.1:7190`; on loopback or in a private network.
            base_model: Id under which it serves the base itself.
            on_away: Called when a call could not reach it, so that its owner looks at once.
        """
        self.base_model = base_model
        self._session = session
        self._address = address
        self._on_away = on_away

    async def is_healthy(self) -> bool:
        """Return whether the engine says it is alive."""
        try:
            async with self._call("GET", HEALTH, None, HEALTH_TIMEOUT_S):
                return True
        except (EngineRefused, Unavailable):
            return False

    async def probe(self) -> bool:
        """Return whether the engine still makes a token; health alone does not show it."""
        body = {**greedy_body([{"role": "user", "content": "?"}], 1), "model": self.base_model}
        try:
            await self.ask(CHAT, body, timeout_s=PROBE_TIMEOUT_S)
        except (EngineRefused, Unavailable):
            return False
        return True

    async def list_models(self) -> set[str]:
        """Return the names that the engine answers to: the base and the loaded adapters."""
        async with self._call("GET", "/v1/models", None, HEALTH_TIMEOUT_S) as response:
            listed = json.loads(await response.read())
        return {str(model["id"]) for model in listed["data"]}

    async def load(self, adapter_sha256: str, folder: Path) -> None:
        """Load an adapter under its hash; loading what is loaded changes nothing.

        Raises:
            EngineRefused: If the engine cannot hold it.
            Unavailable: If the engine cannot be reached.
        """
        body = {"lora_name": adapter_sha256, "lora_path": str(folder)}
        try:
            async with self._call("POST", "/v1/load_lora_adapter", body, LOAD_TIMEOUT_S):
                return
        except EngineRefused as error:
            if "already been loaded" not in error.message:
                raise

    async def unload(self, adapter_sha256: str) -> None:
        """Unload an adapter; unloading what is not loaded changes nothing.

        Raises:
            Unavailable: If the engine cannot be reached.
        """
        body = {"lora_name": adapter_sha256}
        try:
            async with self._call("POST", "/v1/unload_lora_adapter", body, LOAD_TIMEOUT_S):
                return
        except EngineRefused as error:
            if error.status != 404:
                raise

    async def answer(self, model: str, messages: list[dict[str, str]], max_tokens: int) -> Answer:
        """Return the greedy answer to a chat, with ids and log-probabilities.

        Args:
            model: Name of the model in the engine.
            messages: Of the chat.
            max_tokens: Longest answer in tokens.

        Raises:
            EngineRefused: If the prompt does not fit.
            Unavailable: If the engine cannot be reached.
        """
        body = await self.ask(CHAT, {**greedy_body(messages, max_tokens), "model": model})
        choice = body["choices"][0]
        return Answer(
            prompt_token_ids=tuple(body["prompt_token_ids"]),
            answer_token_ids=tuple(choice["token_ids"]),
            text=choice["message"]["content"] or "",
            logprobs=tuple(item["logprob"] for item in choice["logprobs"]["content"]),
        )

    async def ask(self, path: str, body: Body, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Body:
        """Return the whole answer to a completion.

        Raises:
            EngineRefused: If the engine says no.
            Unavailable: If it cannot be reached or takes too long.
        """
        async with self._call("POST", path, body, timeout_s) as response:
            answer: Body = json.loads(await response.read())
            return answer

    @asynccontextmanager
    async def stream(self, path: str, body: Body) -> AsyncIterator[AsyncIterator[list[Body]]]:
        """Open a streamed completion and yield its chunks; leaving the block cancels the rest.

        What came together is yielded together: under load that is several chunks.

        Raises:
            EngineRefused: On entry if the engine says no; in the stream if it fails half-way.
            Unavailable: If the engine cannot be reached, or ends before the answer does.
        """
        async with self._call("POST", path, body, None) as response:
            yield self._batches(response)

    async def _batches(self, response: aiohttp.ClientResponse) -> AsyncIterator[list[Body]]:
        """Yield the chunks of an answer, none empty, until the engine says that it is whole."""
        rest = b""
        async for data in response.content.iter_any():
            *lines, rest = (rest + data).split(b"\n")
            batch: list[Body] = []
            for line in lines:
                if not line.startswith(b"data:"):
                    continue
                text = line.removeprefix(b"data:").strip()
                if text == b"[DONE]":
                    if batch:
                        yield batch
                    await _read_end(response)
                    return
                chunk: Body = CHUNKS.decode(text)
                if "error" in chunk:
                    if batch:
                        yield batch
                    raise EngineRefused(500, chunk)
                batch.append(chunk)
            if len(rest) > LINE_BYTES_MAX:
                raise self._away(f"a line of over {LINE_BYTES_MAX:,} bytes")
            if batch:
                yield batch
        raise self._away("it ended before the answer did")

    @asynccontextmanager
    async def _call(
        self, method: str, path: str, body: Body | None, timeout_s: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert (method, path) in ROUTES, f"{method} {path} is not a route that we use"
        timeout = aiohttp.ClientTimeout(
            total=timeout_s, sock_read=SILENCE_MAX_S if timeout_s is None else None
        )
        try:
            async with self._session.request(
                method, self._address + path, json=body, timeout=timeout
            ) as response:
                if response.status >= 500 and path != HEALTH and not await self.is_healthy():
                    raise self._away(f"status {response.status}")
                if response.status != 200:
                    raise EngineRefused(response.status, _parse(await response.text()))
                yield response
        except AWAY as error:
            raise self._away(type(error).__name__) from error

    def _away(self, what: str) -> Unavailable:
        self._on_away()
        return Unavailable(
            f"The engine did not answer ({what}). It is being looked at; try again.",
            reason=ENGINE_AWAY,
            retry_after_s=5.0,
            cause=what,
        )


async def _read_end(response: aiohttp.ClientResponse) -> None:
    """Read what closes a body whose content is complete, so that its connection is used again."""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(END_TIMEOUT_S):
            await response.content.read()


def _parse(text: str) -> Body:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
