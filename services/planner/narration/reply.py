"""How a reply opens, is put together and is streamed."""

from __future__ import annotations

from services.planner.narration.templates import FALLBACK, fill, spoken
from services.planner.narration.terms import language_name

PIECE_WORDS = 8


def joined(language: str, *sentences: str) -> str:
    """Return sentences as one paragraph; empty ones are left out."""
    space = "" if spoken(language) == "ja" else " "
    return space.join(sentence for sentence in sentences if sentence)


def opened(language: str, *paragraphs: str) -> str:
    """Return paragraphs as a reply, which says first when it is in English for want of words."""
    kept = [paragraph for paragraph in paragraphs if paragraph]
    if language and spoken(language) != language:
        name = language_name(language, FALLBACK)
        kept = [fill("replies.fallback", FALLBACK, {"name": name}), *kept]
    return "\n\n".join(kept)


def pieces(reply: str) -> list[str]:
    """Split a reply into pieces to stream; joined they are the reply."""
    words = reply.split(" ")
    starts = range(0, len(words), PIECE_WORDS)
    cut = [" ".join(words[start : start + PIECE_WORDS]) for start in starts]
    return [piece + " " for piece in cut[:-1]] + cut[-1:]
