"""One model's answer from its engine, which is started first where none runs."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from services.common.errors import FailedPrecondition, InvalidArgument, Unavailable, Violation
from services.serving.deployments.route import Route
from services.serving.engines.engine import START_TIMEOUT_S, EngineState
from services.serving.engines.engine_client import CHAT, ENGINE_AWAY, EngineRefused
from services.serving.engines.group import Group
from services.serving.engines.pool import Engines
from services.serving.engines.tool_parser import find_tool_parser
from services.serving.engines.weights import Weights
from services.serving.playground.answer import End, Piece, Wait
from services.serving.playground.pricing import meter
from services.serving.playground.prompt import Prompt, ToolCall, chat_body

PROGRESS_S = 1.0
"""Longest time between two pieces that tell of a start."""
WAIT_MAX_S = START_TIMEOUT_S


@dataclass
class _Call:
    """A tool call as its pieces come."""

    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass
class _Stream:
    """What the engine's chunks said so far."""

    start_s: float = field(default_factory=time.monotonic)
    first_token_s: float = 0.0
    """Since the start; 0 before the first token."""
    finish_reason: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    calls: dict[int, _Call] = field(default_factory=dict)

    def take(self, chunk: dict[str, Any]) -> str:
        """Take note of a chunk and return its text."""
        self.usage = chunk.get("usage") or self.usage
        text = ""
        for choice in chunk["choices"]:
            delta = choice.get("delta") or {}
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            calls = delta.get("tool_calls") or ()
            for call in calls:
                self._take_call(call)
            said = delta.get("content") or ""
            if (said or calls) and not self.first_token_s:
                self.first_token_s = time.monotonic() - self.start_s
            text += said
        return text

    def end(self, model_version: str, cost_micro_usd: int | None) -> End:
        """Return how the answer ended."""
        total_s = time.monotonic() - self.start_s
        first_token_s = self.first_token_s or total_s
        tokens = int(self.usage.get("completion_tokens") or 0)
        rest_s = total_s - first_token_s
        return End(
            model_version=model_version,
            finish_reason=self.finish_reason,
            prompt_token_count=int(self.usage.get("prompt_tokens") or 0),
            answer_token_count=tokens,
            first_token_s=first_token_s,
            total_s=total_s,
            tokens_per_s=(tokens - 1) / rest_s if tokens > 1 and rest_s > 0 else 0.0,
            cost_micro_usd=cost_micro_usd,
            tool_calls=tuple(
                ToolCall(call.id or f"call_{index}", call.name, call.arguments)
                for index, call in sorted(self.calls.items())
            ),
        )

    def _take_call(self, delta: dict[str, Any]) -> None:
        call = self.calls.setdefault(int(delta.get("index") or 0), _Call())
        function = delta.get("function") or {}
        call.id = delta.get("id") or call.id
        call.name = function.get("name") or call.name
        call.arguments += function.get("arguments") or ""


class Generations:
    """Asks engines for answers."""

    def __init__(self, engines: Engines, hour_cost_micro_usd: int = 0) -> None:
        """Keep the engines.

        Args:
            engines: All of them.
            hour_cost_micro_usd: Price of an engine's hour in millionths of a US dollar; 0 for none.
        """
        self._engines = engines
        self._hour_cost_micro_usd = hour_cost_micro_usd

    async def stream(self, route: Route, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of one answer: waits, then texts, then its end.

        Args:
            route: What answers.
            prompt: Breaks no rule.

        Raises:
            InvalidArgument: If the engine refuses the prompt, for example as too long.
            FailedPrecondition: If the model's files are not at hand, or it calls no tools.
            ResourceExhausted: If there is no room for an engine, or in it.
            Unavailable: If the engine cannot be started, or goes away half-way.
        """
        group = None
        if route.outside is None:
            group = await self._engines.demand(route.weights)
            if prompt.tools and not find_tool_parser(group.model.folder):
                raise _no_tools(group.model.id)
            async for wait in self._wait(route.weights):
                yield wait
            group = await self._engines.demand(route.weights)
        body = {**chat_body(prompt), "model": route.weights.engine_model}
        # The price is of an hour of ours; what a cloud asks for an answer is not known here.
        made, price = _Stream(), meter(self._hour_cost_micro_usd if group else 0)
        try:
            async with (
                route.hold(self._engines) as client,
                client.stream(CHAT, body) as batches,
            ):
                async for batch in batches:
                    price.note(group.share if group else 1.0)
                    for chunk in batch:
                        if text := made.take(chunk):
                            yield text
        except EngineRefused as error:
            raise self._translate(error, route) from None
        yield made.end(route.model_version, price.cost_micro_usd)

    async def _wait(self, weights: Weights) -> AsyncGenerator[Wait, None]:
        """Yield how far an engine's start is until one answers.

        Raises:
            Unavailable: If it failed, or takes too long.
            ResourceExhausted: If there is no room for it.
        """
        deadline_s = time.monotonic() + WAIT_MAX_S
        while True:
            # Each look counts as a request: an engine that is waited for is not idle.
            group = await self._engines.demand(weights)
            reason = group.waits_for(weights)
            if reason is None:
                return
            is_over = _has_failed(group) or time.monotonic() > deadline_s
            if not isinstance(reason, Unavailable) or is_over:
                raise reason
            yield _wait_of(group)
            await self._engines.wait_for_change(PROGRESS_S)

    def _translate(self, error: EngineRefused, route: Route) -> InvalidArgument | Unavailable:
        if error.status == 400:
            violation = Violation("prompt", "PROMPT", error.message)
            return InvalidArgument(error.message, reason="PROMPT_REFUSED", violations=[violation])
        if error.status == 404 and route.outside is None:
            self._engines.forget(route.weights)
        return Unavailable(
            f"The engine could not answer (status {error.status}). Try again.",
            reason=ENGINE_AWAY,
            retry_after_s=5.0,
            status=str(error.status),
        )


def _no_tools(model_id: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{model_id} calls no tools: its chat template does not tell it of any, or not in a form "
        "that is known. Leave the tools out, or ask another model.",
        reason="NO_TOOLS",
        base_model=model_id,
    )


def _has_failed(group: Group) -> bool:
    return bool(group.members) and all(
        member.engine.state is EngineState.FAILED for member in group.members
    )


def _wait_of(group: Group) -> Wait:
    if not group.members:
        return Wait(f"An engine of {group.model.id} is being started.", 0.0, None)
    nearest = max((member.engine for member in group.members), key=lambda one: one.progress)
    return Wait(nearest.reason, nearest.progress, nearest.remaining_s)
