"""Writes decisions into a spec, each with what was recommended, by whom and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attune.spec.v1 import spec_pb2
from google.protobuf import duration_pb2

from services.planner.brief import Brief, Value
from services.planner.spec.path import resolve, text_at, write
from services.planner.spec.rules import range_of

RECIPE = spec_pb2.Choice.SOURCE_RECIPE
RULE = spec_pb2.Choice.SOURCE_RULE
DATA = spec_pb2.Choice.SOURCE_DATA
AGENT = spec_pb2.Choice.SOURCE_AGENT
USER = spec_pb2.Choice.SOURCE_USER
OPERATOR = spec_pb2.Choice.SOURCE_OPERATOR


class Ledger:
    """A spec in the making."""

    def __init__(self, brief: Brief) -> None:
        """Start with an empty spec; what the brief says wins over what is recommended."""
        self.spec = spec_pb2.Spec()
        self._said = brief.said
        self._sentences = brief.sentences

    def decide(
        self,
        path: str,
        recommended: Any,
        *,
        source: spec_pb2.Choice.Source.ValueType,
        origin: str,
        reason: str,
        basic: bool = False,
        allowed: Sequence[str] = (),
    ) -> None:
        """Set a field to what was said about it, else to what is recommended; keep why.

        Args:
            path: Of the field; must resolve.
            recommended: What the system would choose; None for nothing.
            source: Who recommends it.
            origin: What exactly: a recipe with its public source, a rule, a sentence.
            reason: One sentence why.
            basic: Whether everyone should see it.
            allowed: Allowed values where they can be listed.
        """
        write(self.spec, path, recommended)
        choice = spec_pb2.Choice(
            field_path=path,
            recommended=text_at(self.spec, path),
            allowed_values=allowed,
            source=source,
            origin=origin,
            reason=reason,
            tier=spec_pb2.Choice.TIER_BASIC if basic else spec_pb2.Choice.TIER_ADVANCED,
        )
        if path in self._said:
            write(self.spec, path, _typed(self.spec, path, self._said[path]))
            choice.source = USER
            choice.origin = f"You said: {self._sentences[path]}"
        set_range(choice, self.spec)
        self.spec.choices.append(choice)


def set_range(choice: spec_pb2.Choice, spec: spec_pb2.Spec) -> None:
    """Write the allowed numbers of a choice's field, when it is a number."""
    allowed = range_of(spec, choice.field_path)
    if allowed is not None:
        choice.minimum, choice.maximum = allowed.low, allowed.high


def _typed(spec: spec_pb2.Spec, path: str, value: Value) -> Any:
    if resolve(spec, path).field.message_type is duration_pb2.Duration.DESCRIPTOR:
        return duration_pb2.Duration(seconds=int(value))
    return value
