"""Counts the tokens of a stream, whether or not its client asked for that."""

from __future__ import annotations

from services.serving.endpoint.call import Call
from services.serving.engines.engine_client import Body

OPTIONS = {"include_usage": True, "continuous_usage_stats": True}
"""The engine counts in every chunk: what a client who goes away has used is known, too."""


class StreamUsage:
    """What the engine says about tokens, kept for us and shown as far as the client asked."""

    def __init__(self, call: Call, body: Body) -> None:
        """Read what the client asked for.

        Args:
            call: Gets the counts.
            body: Of the request. Options that are no object stay, for the engine to refuse.
        """
        options = body.get("stream_options")
        self._call = call
        self._answer_token_counts: dict[int, int] = {}
        self.body = body
        shown: Body = options if isinstance(options, dict) else {}
        if options is None or isinstance(options, dict):
            self.body = {**body, "stream_options": {**shown, **OPTIONS}}
        self._shows_end = bool(shown.get("include_usage"))
        self._shows_all = self._shows_end and bool(shown.get("continuous_usage_stats"))

    def take(self, chunk: Body) -> Body | None:
        """Count a chunk, and return it as the client is to see it; None if not at all."""
        usage = chunk.get("usage")
        if not usage:
            return chunk
        choices = chunk.get("choices")
        if not choices:
            self._call.note_usage(usage)
            return chunk if self._shows_end else None
        # With several choices each chunk counts its own choice only.
        self._answer_token_counts[choices[0]["index"]] = usage.get("completion_tokens") or 0
        self._call.prompt_token_count = usage.get("prompt_tokens") or 0
        self._call.answer_token_count = sum(self._answer_token_counts.values())
        if not self._shows_all:
            del chunk["usage"]
        return chunk
