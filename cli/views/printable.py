"""Text from models and files, safe on a terminal."""

from __future__ import annotations

import re

PICTURES = 0x2400
"""Where Unicode keeps a picture of each control character."""
DELETE, DELETE_PICTURE = 0x7F, "\u2421"
ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What moves, colours or reorders: all controls but tab and line feed, line separators, and
overrides of direction."""


def printable(text: str) -> str:
    """Return a text that a terminal shows and never obeys: control characters become pictures."""
    return ACTIVE.sub(_picture, text.replace("\r\n", "\n"))


def _picture(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(PICTURES + code)
    if code == DELETE:
        return DELETE_PICTURE
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
