"""Who may enter the endpoint, and when it is their turn."""

from __future__ import annotations

from starlette.requests import Request

from services.serving.endpoint.call import Call
from services.serving.keys.gate import Gate
from services.serving.keys.keyring import Caller, Keyring
from services.serving.keys.limits import LimitReached
from services.serving.keys.loopback import is_forwarded, is_local


class Admission:
    """The keyring, the limits of each key, and the gate of the whole endpoint."""

    def __init__(self, keyring: Keyring, gate: Gate) -> None:
        """Keep what it needs."""
        self._keyring = keyring
        self._gate = gate

    def identify(self, request: Request) -> Caller:
        """Return who calls, and note it in the call.

        Raises:
            Unauthenticated: If the key is missing or wrong.
        """
        call: Call = request.scope["call"]
        headers = request.headers
        is_near = is_local(headers.get("host", ""), headers.get("origin", ""))
        caller = self._keyring.find(
            headers.get("authorization", ""), is_local=is_near and not is_forwarded(headers)
        )
        call.project = caller.project
        call.api_key = "" if caller.key is None else caller.key.name
        return caller

    def let_in(self, call: Call, caller: Caller) -> None:
        """Count a request against the caller's limits; the call gives back what it holds.

        Raises:
            LimitReached: If a limit is used up.
        """
        limiter = caller.limiter
        try:
            limiter.enter()
        except LimitReached:
            call.headers += limiter.headers()
            raise
        call.on_end.append(lambda: limiter.leave(call.prompt_token_count + call.answer_token_count))
        call.headers += limiter.headers()

    def has_turn(self, call: Call) -> bool:
        """Return whether the endpoint has room at once; the call gives its place back then."""
        if self._gate.try_enter():
            call.on_end.append(self._gate.leave)
            return True
        return False

    async def take_turn(self, call: Call) -> None:
        """Wait until the endpoint has room; the call gives its place back.

        Raises:
            Unavailable: If too many wait, or it takes too long.
        """
        await self._gate.enter()
        call.on_end.append(self._gate.leave)
