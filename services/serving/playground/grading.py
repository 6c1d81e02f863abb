"""Scores answers as they come, with the trainer's graders."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from attune.spec.v1.grader_pb2 import Grader

from services.common.errors import ServiceError, Violation
from services.serving.playground.answer import Score
from services.serving.playground.prompt import CHARACTERS_MAX, Prompt, ToolCall, message_body

GRADERS_MAX = 8


@dataclass(frozen=True)
class Grading:
    """With what answers are scored."""

    graders: tuple[Grader, ...] = ()
    reference: str = ""
    """The right answer; empty when nobody said."""


@dataclass(frozen=True)
class Sample:
    """An answer as graders read it."""

    item: str
    """The row that it answers, a JSON object."""
    output_text: str
    output_tools: str
    """Calls that the answer makes, a JSON list; empty when it makes none."""


class GraderService(Protocol):
    """Where graders run."""

    async def grade(self, grader: Grader, sample: Sample) -> float:
        """Return the score of one answer, in [0, 1].

        Raises:
            ServiceError: If the grader is wrong, cannot score it, or cannot be asked.
        """
        ...


def check_grading(grading: Grading) -> list[Violation]:
    """Return every rule that graders break; their settings are checked where they run."""
    found = []
    if len(grading.graders) > GRADERS_MAX:
        text = f"{len(grading.graders)} graders; at most {GRADERS_MAX}."
        found.append(Violation("grading.graders", "COUNT", text))
    names = [grader.name for grader in grading.graders]
    for index, name in enumerate(names):
        if name in names[:index]:
            text = f"'{name[:80]}' stands here twice. Give each grader a name of its own."
            found.append(Violation(f"grading.graders.{index}.name", "UNIQUE", text))
    if len(grading.reference) > CHARACTERS_MAX:
        text = f"{len(grading.reference):,} characters; at most {CHARACTERS_MAX:,}. Shorten it."
        found.append(Violation("grading.reference", "LENGTH", text))
    return found


def sample_of(prompt: Prompt, reference: str, text: str, calls: Sequence[ToolCall]) -> Sample:
    """Return an answer as graders read it."""
    item: dict[str, object] = {"messages": [message_body(one) for one in prompt.messages]}
    if reference:
        item["reference"] = reference
    tools = [{"name": call.name, "arguments": _read(call.arguments)} for call in calls]
    return Sample(
        json.dumps(item, ensure_ascii=False),
        text,
        json.dumps(tools, ensure_ascii=False) if tools else "",
    )


async def scores_of(service: GraderService, grading: Grading, sample: Sample) -> tuple[Score, ...]:
    """Return what each grader says, in their order; one that fails leaves the others alone."""

    async def score(grader: Grader) -> Score:
        try:
            return Score(grader.name, await service.grade(grader, sample))
        except ServiceError as error:
            return Score(grader.name, None, error.message)

    return tuple(await asyncio.gather(*(score(grader) for grader in grading.graders)))


def _read(arguments: str) -> object:
    """Return arguments as the JSON that they are, or as text if they are none."""
    try:
        value: object = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return value
