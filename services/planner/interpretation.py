"""Who reads messages: patterns at once, or a language model that takes its time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Protocol

from services.planner.brief import Brief, BriefPatch

LONG_CHARACTERS = 1000
"""Patterns take up to a second for a message of 8,000 characters, in which others talk on."""


class Interpreter(Protocol):
    """Reads messages."""

    def read(self, message: str, brief: Brief) -> BriefPatch | Awaitable[BriefPatch]:
        """Return what a message adds to the brief.

        Args:
            message: What the person said, 1 to 8,000 characters.
            brief: What is known; `open_question` says what the message may answer.
        """
        ...


async def interpret(interpreter: Interpreter, message: str, brief: Brief) -> BriefPatch:
    """Return what a message adds to the brief, at once or when a model has answered."""
    if len(message) > LONG_CHARACTERS and not inspect.iscoroutinefunction(interpreter.read):
        read = await asyncio.to_thread(interpreter.read, message, brief)
    else:
        read = interpreter.read(message, brief)
    return await read if inspect.isawaitable(read) else read
