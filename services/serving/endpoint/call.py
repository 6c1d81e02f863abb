"""One request to the endpoint, from its arrival to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from services.serving.deployments.route import Route

CLIENT_GONE = 499
"""Status of a request whose client went away; nobody receives it."""


@dataclass(slots=True)
class Call:
    """What is known of a request; complete when it has ended."""

    request_id: str
    """Of the caller if it is well formed, else ours; goes back as `x-request-id`."""
    path: str
    begin_s: float = field(default_factory=time.monotonic)
    project: str = ""
    """Id of the project that it belongs to; empty until the caller is known."""
    api_key: str = ""
    """Name of the key; empty without one."""
    model: str = ""
    """The name that was called; empty until something is found under it."""
    route: Route | None = None
    """What answers."""
    status: int = 0
    """HTTP status; what a stream that broke would have had, had it not begun."""
    code: str = ""
    """Of the error; empty when there was none."""
    prompt_token_count: int = 0
    answer_token_count: int = 0
    """Tokens as far as the engine told, also when the client went away."""
    first_token_s: float | None = None
    """From arrival to the first piece of a stream, in seconds; None where there was none."""
    total_s: float = 0.0
    """From arrival to the end, in seconds."""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """More headers of the response."""
    is_stream: bool = False
    """Whether it is answered in events."""
    on_end: list[Callable[[], None]] = field(default_factory=list)
    """Gives back what the request holds; called once, however it ended."""

    @property
    def model_version(self) -> str:
        """Name of the version that answered; empty for a base, or when none was reached."""
        return "" if self.route is None else self.route.model_version

    def note_first_token(self) -> None:
        """Take note that the first piece of a stream is here."""
        self.first_token_s = time.monotonic() - self.begin_s

    def note_usage(self, usage: dict[str, Any]) -> None:
        """Keep the tokens that the engine counted in the whole answer."""
        self.prompt_token_count = int(usage.get("prompt_tokens") or 0)
        self.answer_token_count = int(usage.get("completion_tokens") or 0)

    def note_failure(self, status: int, code: str) -> None:
        """Keep how it really ended, when the status was sent before."""
        self.status, self.code = status, code


Observer = Callable[[Call], None]
"""Is told of every request that ended; returns at once and never raises."""
