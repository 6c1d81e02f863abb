"""The log of each process: kept short, and read for the reason of a death."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

SIZE_MAX_BYTES = 20 * 1024 * 1024
TAIL_BYTES = 16 * 1024
REASON_LETTERS_MAX = 400


def open_log(path: Path) -> BinaryIO:
    """Open a log for appending; a large one is set aside under `.1` first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > SIZE_MAX_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def read_tail(path: Path, since: int = 0) -> str:
    """Return the end of a log, at most 16 KiB, from byte `since` on at the earliest."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(since if since <= size else 0, size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def last_words(text: str) -> tuple[str, bool]:
    """Return why a process ended, from what it wrote, and whether it said so on purpose.

    A service that cannot start writes one plain line, which is the reason. Everything else it
    writes are JSON lines; a fault leaves a traceback.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "", False
    plain = not lines[-1].startswith(("{", "[")) and "Traceback (most recent call last)" not in text
    return _words(lines[-1])[:REASON_LETTERS_MAX], plain


def _words(line: str) -> str:
    try:
        body = json.loads(line)
    except ValueError:
        return line
    if not isinstance(body, dict):
        return line
    fault = str(body.get("exception", "")).strip().splitlines()
    return fault[-1] if fault else str(body.get("message", line))
