"""Patterns whose search and whose size are bounded; pure."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

import regex  # type: ignore[import-untyped]

SEARCH_TIMEOUT_S = 1.0
"""Longest search of a pattern in one text; one that backtracks without end is stopped."""
CHARACTERS_MAX = 1000
"""As attune.spec.v1.RegexGrader says."""
COPIES_MAX = 10_000
"""Copies that counted repeats make of a part when one is within another; a million fill memory."""
COUNTED = re.compile(r"\{(\d+)(?:,\d*)?\}")
KEPT_MAX = 256
"""Patterns that are kept compiled."""


@lru_cache(KEPT_MAX)
def compile_pattern(text: str) -> Any:
    """Return a pattern in Python's syntax, compiled.

    Raises:
        ValueError: If it is none, or too large.
    """
    if len(text) > CHARACTERS_MAX:
        raise ValueError(f"it has over {CHARACTERS_MAX:,} characters")
    copies = math.prod(max(1, int(each[:9])) for each in COUNTED.findall(text))
    if copies > COPIES_MAX:
        raise ValueError(f"its repeats multiply to {copies:,}, over {COPIES_MAX:,}")
    try:
        re.compile(text)  # The syntax is Python's; the search is one that can stop.
        return regex.compile(text)
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None


def is_found(pattern: Any, text: str) -> bool:
    """Return whether a compiled pattern is anywhere in a text.

    Raises:
        TimeoutError: If the search takes too long.
    """
    return pattern.search(text, timeout=SEARCH_TIMEOUT_S) is not None
