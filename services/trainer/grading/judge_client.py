"""Asks a judge behind an OpenAI-compatible endpoint: in parallel, with retries and a cache."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Generic, TypeVar

import openai

from services.trainer.grading.sample import Fault, Ungradable
from services.trainer.settings import JudgeSettings

CACHED_MAX = 20_000
"""Replies that are kept; the one that was not asked for longest goes first."""
READINGS_MAX = 2
"""Requests for one judgement whose reply cannot be read: one, and one more."""
DETAILS_CHARACTERS_MAX = 300

Read = TypeVar("Read")


@dataclass(frozen=True)
class JudgeRequest:
    """One judgement that is wanted."""

    model: str
    """Name at the endpoint."""
    messages: tuple[tuple[str, str], ...]
    """Role and text of each."""
    schema: str
    """JSON Schema of the reply, as JSON."""
    temperature: float
    """In [0, 2]."""
    top_p: float
    """Nucleus share, in (0, 1]."""
    token_count_max: int
    """Longest reply in tokens."""

    @property
    def key(self) -> str:
        """Hash of all of it."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Judgement(Generic[Read]):
    """One reply, read."""

    value: Read
    token_count: int
    """Tokens of request and reply; 0 when the reply was known from before."""


class JudgeClient:
    """One endpoint; its requests share the workers and the replies that are known."""

    def __init__(self, settings: JudgeSettings) -> None:
        """Prepare; nothing is connected before the first request."""
        self._client = openai.OpenAI(
            base_url=settings.base_url,
            api_key=settings.api_key.get_secret_value() or "none",
            timeout=settings.timeout_s,
            # The client waits longer before each repeat, and as long as the endpoint says.
            max_retries=settings.retries,
            http_client=openai.DefaultHttpxClient(follow_redirects=False, trust_env=False),
        )
        self._workers = ThreadPoolExecutor(settings.workers, thread_name_prefix="judge")
        self._known: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()
        self._is_schema_refused = False

    def ask(
        self, requests: Sequence[JudgeRequest], read: Callable[[str], Read]
    ) -> list[Judgement[Read] | Ungradable]:
        """Return what each request was answered with, in order; equal requests are sent once.

        Args:
            requests: Any number.
            read: Takes a reply's text; raises ValueError if it is not in the form asked for.
        """
        wanted = {request.key: request for request in requests}
        replies = self._workers.map(lambda request: self._judge(request, read), wanted.values())
        by_key = dict(zip(wanted, replies, strict=True))
        return [by_key[request.key] for request in requests]

    def _judge(
        self, request: JudgeRequest, read: Callable[[str], Read]
    ) -> Judgement[Read] | Ungradable:
        if (text := self._find(request.key)) is not None:
            return Judgement(read(text), 0)
        problem, tokens = "", 0
        for _ in range(READINGS_MAX):
            try:
                text, count = self._complete(request)
                tokens += count
                value = read(text)
            except Ungradable as error:
                return error
            except ValueError as error:
                problem = str(error)
                continue
            self._keep(request.key, text)
            return Judgement(value, tokens)
        return Ungradable(
            Fault.MODEL_PARSE,
            f"The judge '{request.model}' did not reply in the form asked for: "
            f"{problem[:DETAILS_CHARACTERS_MAX]}. Use a model that follows a JSON Schema.",
        )

    def _complete(self, request: JudgeRequest) -> tuple[str, int]:
        """Return the reply's text and the tokens of both.

        Raises:
            Ungradable: If the endpoint fails for good or the judge refuses.
        """
        try:
            if not self._is_schema_refused:
                try:
                    return self._send(request, _structured(request.schema))
                except openai.BadRequestError as error:
                    if "response_format" not in str(error):
                        raise
                    self._is_schema_refused = True  # The prompt says the form, too.
            return self._send(request, openai.omit)
        except openai.APIError as error:
            raise Ungradable(
                Fault.MODEL_SERVER, f"The judge '{request.model}' failed: {_reason(error)}"
            ) from None

    def _send(self, request: JudgeRequest, response_format: Any) -> tuple[str, int]:
        messages: Any = [{"role": role, "content": text} for role, text in request.messages]
        completion = self._client.chat.completions.create(
            model=request.model,
            messages=messages,
            temperature=request.temperature,
            top_p=request.top_p,
            max_completion_tokens=request.token_count_max,
            response_format=response_format,
        )
        choices = getattr(completion, "choices", None)
        message = choices[0].message if choices else None
        if message is not None and getattr(message, "refusal", None):
            raise Ungradable(
                Fault.MODEL_REFUSAL,
                f"The judge '{request.model}' would not judge: "
                f"{str(message.refusal)[:DETAILS_CHARACTERS_MAX]}. Reword its prompt.",
            )
        if message is None or not isinstance(message.content, str):
            raise ValueError("the reply has no text")
        usage = getattr(completion, "usage", None)
        return message.content, int(getattr(usage, "total_tokens", 0) or 0)

    def _find(self, key: str) -> str | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def _keep(self, key: str, text: str) -> None:
        with self._lock:
            self._known[key] = text
            if len(self._known) > CACHED_MAX:
                self._known.popitem(last=False)


def _structured(schema: str) -> dict[str, Any]:
    named = {"name": "judgement", "strict": True, "schema": json.loads(schema)}
    return {"type": "json_schema", "json_schema": named}


def _reason(error: openai.APIError) -> str:
    """Return what is wrong and what to do; never the endpoint's own text, which may quote keys."""
    if isinstance(error, openai.APITimeoutError):
        return "no reply in time, several times. Raise ATTUNE_JUDGE_TIMEOUT_S or ask less at once."
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return "the endpoint refuses the key. Set ATTUNE_JUDGE_API_KEY."
    if isinstance(error, openai.NotFoundError):
        return "the endpoint does not have it. Name a model that it has."
    if isinstance(error, openai.APIStatusError):
        return f"the endpoint answers {error.status_code}, several times. Look at its log."
    return "the endpoint cannot be reached. Check ATTUNE_JUDGE_BASE_URL."
