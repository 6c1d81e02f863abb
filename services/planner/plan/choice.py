"""Writes decisions into a spec, each with what was recommended, by whom and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from attune.spec.v1 import spec_pb2, stage_pb2
from google.protobuf import duration_pb2
from google.protobuf.descriptor import FieldDescriptor

from services.planner.brief import Brief, Value
from services.planner.spec.path import resolve, text_at, write
from services.planner.spec.rules import ALIAS, LOSSES, TEXT_LENGTHS, range_of

RECIPE = spec_pb2.Choice.SOURCE_RECIPE
RULE = spec_pb2.Choice.SOURCE_RULE
DATA = spec_pb2.Choice.SOURCE_DATA
AGENT = spec_pb2.Choice.SOURCE_AGENT
USER = spec_pb2.Choice.SOURCE_USER
OPERATOR = spec_pb2.Choice.SOURCE_OPERATOR

REINFORCED = (stage_pb2.TECHNIQUE_RLVR, stage_pb2.TECHNIQUE_RLAIF)
"""Techniques that sample answers and reward them."""
FIRST_STAGE = "stages.0."
PARTS = {"hyperparameters.dpo.": (stage_pb2.TECHNIQUE_DPO,)} | dict.fromkeys(
    ("hyperparameters.rl.", "reward."), REINFORCED
)
"""Parts of a stage that only some techniques have."""


class Ledger:
    """A spec in the making."""

    def __init__(
        self, brief: Brief, techniques: Sequence[stage_pb2.Technique.ValueType] = ()
    ) -> None:
        """Start with an empty spec; what the brief says wins over what is recommended.

        Args:
            brief: What was said.
            techniques: Of the stages in order; a value of `stages.0` that the first one does not
                have belongs to the first one that has it.
        """
        self.spec = spec_pb2.Spec()
        self.said = {place(path, techniques): value for path, value in brief.said.items()}
        self._sentences = {
            place(path, techniques): sentence for path, sentence in brief.sentences.items()
        }

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
        value: Any = None,
    ) -> None:
        """Set a field to what was said about it, else to what is recommended; keep why.

        What was said and cannot stand there is left out; `check_user_values` tells the person.

        Args:
            path: Of the field; must resolve.
            recommended: What the system would choose; None for nothing.
            source: Who recommends it.
            origin: What exactly: a recipe with its public source, a rule, a sentence.
            reason: One sentence why.
            basic: Whether everyone should see it.
            allowed: Allowed values where they can be listed.
            value: What stands there instead of the recommendation for reasons of its own; None
                for the recommendation. What was said in plain words wins over neither.
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
        if value is not None:
            write(self.spec, path, value)
        elif path in self.said and fits(self.spec, path, self.said[path]):
            write(self.spec, path, typed(self.spec, path, self.said[path]))
            choice.source = USER
            choice.origin = self.quote(path)
        set_range(choice, self.spec)
        self.spec.choices.append(choice)

    def quote(self, path: str) -> str:
        """Return the sentence that decided a field, as an origin."""
        sentence = self._sentences.get(path, "")
        return f"You said: {sentence}" if sentence else "You said so in the conversation"

    def said_fits(self, path: str) -> bool:
        """Return whether something was said about a field that can stand there."""
        return path in self.said and fits(self.spec, path, self.said[path])


def place(path: str, techniques: Sequence[stage_pb2.Technique.ValueType]) -> str:
    """Return a path with the position of the stage that has its field.

    Args:
        path: As it was said; `stages.0` stands for whichever stage it fits.
        techniques: Of the stages, in order.
    """
    if not path.startswith(FIRST_STAGE):
        return path
    inside = path.removeprefix(FIRST_STAGE)
    for part, owners in PARTS.items():
        if inside.startswith(part):
            index = next((i for i, each in enumerate(techniques) if each in owners), 0)
            return f"stages.{index}.{inside}"
    return path


def fits(spec: spec_pb2.Spec, path: str, value: Value) -> bool:
    """Return whether what was said can stand in a field: type and range.

    Args:
        spec: Has the base model and the data, which bound some fields.
        path: Must resolve.
        value: As it was read.
    """
    try:
        written = typed(spec, path, value)
    except (ValueError, TypeError, OverflowError):
        return False
    if path == "serving.alias":
        return ALIAS.fullmatch(str(written)) is not None
    if isinstance(written, duration_pb2.Duration):
        return written.ToNanoseconds() > 0
    if path in TEXT_LENGTHS:
        low, high = TEXT_LENGTHS[path]
        return low <= len(str(written)) <= high
    if path.endswith(".packing"):
        stage = spec.stages[int(path.split(".")[1])]
        return written is False or stage.technique == stage_pb2.TECHNIQUE_SFT
    listed = LOSSES.get(path.partition(".hyperparameters.")[2])
    if listed is not None:
        return written in listed
    allowed = range_of(spec, path)
    return allowed is None or (isinstance(written, int | float) and allowed.holds(written))


def typed(spec: spec_pb2.Spec, path: str, value: Value) -> Any:
    """Return what was said in the type of its field.

    Raises:
        ValueError: If it cannot be of that type, such as 1.5 for a whole number.
        TypeError: The same.
        OverflowError: If it is infinite and the field takes whole numbers.
    """
    field = resolve(spec, path).field
    if field.message_type is duration_pb2.Duration.DESCRIPTOR:
        return duration_pb2.Duration(seconds=int(value))
    if field.enum_type is not None:
        return _enum(field, value)
    if field.type == FieldDescriptor.TYPE_INT64:
        if float(value) != math.floor(float(value)):
            raise ValueError(f"{value} is not a whole number")
        return int(value)
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return float(value)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return str(value).lower() in ("1", "1.0", "true", "yes", "on")
    if field.is_repeated:
        return [part.strip() for part in str(value).split(",") if part.strip()]
    return str(value).lower() if path.endswith(".loss_type") else str(value)


def set_range(choice: spec_pb2.Choice, spec: spec_pb2.Spec) -> None:
    """Write the allowed numbers of a choice's field, when it is a number."""
    allowed = range_of(spec, choice.field_path)
    if allowed is not None:
        choice.minimum, choice.maximum = allowed.low, allowed.high


def _enum(field: FieldDescriptor, value: Value) -> int:
    """Return the number of an enum's value, given by number, by name or by the name's end."""
    assert field.enum_type is not None
    names = field.enum_type.values_by_name
    if isinstance(value, str):
        wanted = value.strip().upper().replace(" ", "_").replace("-", "_")
        wanted = wanted.removesuffix("_WITH_WARMUP")  # A warm-up is a field of its own.
        for name, each in names.items():
            if each.number and (name == wanted or name.endswith(f"_{wanted}")):
                return each.number
        raise ValueError(f"{value} is not a value of {field.enum_type.name}")
    if int(value) == 0 or int(value) not in field.enum_type.values_by_number:
        raise ValueError(f"{value} is not a value of {field.enum_type.name}")
    return int(value)
