"""Reads files that people name on the command line."""

from __future__ import annotations

from pathlib import Path

from services.common.errors import InvalidArgument

FILE_BYTES_MAX = 64 * 1024 * 1024


def read_text(path: Path) -> str:
    """Return what a file of UTF-8 holds.

    Raises:
        InvalidArgument: If it cannot be read, is no text, or is too large.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise refused(path, f"has over {FILE_BYTES_MAX:,} bytes. Take a part of it", "TOO_BIG")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise refused(path, f"cannot be read: {reason}", "NO_FILE") from None


def refused(path: Path, what: str, reason: str) -> InvalidArgument:
    """Return the error that says what is wrong with a file, and the remedy."""
    return InvalidArgument(f"{path} {what}.", reason=reason, path=str(path))
