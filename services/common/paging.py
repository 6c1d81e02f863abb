"""Page sizes and page tokens of list methods."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from services.common.errors import Violation, invalid

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1000
PAGE_BYTES_MAX = 3 * 1024 * 1024
"""A page stays below the 4 MiB that gRPC clients take by default."""

Entry = TypeVar("Entry", bound=Message)


class PageRequest(Protocol):
    """The request of a list method."""

    page_size: int
    page_token: str


async def read_page(
    request: PageRequest,
    query: str,
    fetch: Callable[[str, int], Awaitable[Sequence[tuple[str, Entry]]]],
) -> tuple[list[Entry], str]:
    """Return the entries of the page that is asked for, and the token of the next one.

    Args:
        request: Says how many entries, and after which.
        query: What is listed; a token serves no other query.
        fetch: Returns entries in order, each with its id: those after an id (all when it is
            empty), at most as many as its second argument says.

    Raises:
        InvalidArgument: If the size is negative or the token was not made for this query.
    """
    size = page_size(request.page_size)
    found = await fetch(read_page_token(request.page_token, query), size + 1)
    kept = cut_page([entry for _, entry in found], size)
    more = len(found) > len(kept)
    return kept, page_token(found[len(kept) - 1][0], query) if more else ""


def page_size(asked: int) -> int:
    """Return the size of a page: 50 when none was asked for, at most 1,000.

    Raises:
        InvalidArgument: If it is negative.
    """
    if asked < 0:
        text = f"{asked} is negative. Ask for 1 to {PAGE_SIZE_MAX:,}, or leave it out."
        raise invalid([Violation("page_size", "RANGE", text)])
    return min(asked or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def cut_page(entries: Sequence[Entry], size: int) -> list[Entry]:
    """Return the first entries that make a page: at most `size`, at most 3 MiB, at least one.

    Args:
        entries: One more than a page may hold, when there are so many.
        size: Most entries.
    """
    kept: list[Entry] = []
    total_bytes = 0
    for entry in entries[:size]:
        total_bytes += entry.ByteSize()
        if kept and total_bytes > PAGE_BYTES_MAX:
            break
        kept.append(entry)
    return kept


def page_token(after: str, query: str) -> str:
    """Return the token of the page that follows.

    Args:
        after: Id of the last entry of this page.
        query: What is listed; a token serves no other query.
    """
    body = json.dumps([after, _check(after, query)])
    return base64.urlsafe_b64encode(body.encode()).decode()


def read_page_token(token: str, query: str) -> str:
    """Return the id after which a page starts; empty for the first page.

    Raises:
        InvalidArgument: If the token was not made for this query.
    """
    if not token:
        return ""
    try:
        after, check = json.loads(base64.urlsafe_b64decode(token.encode()))
        fits = isinstance(after, str) and check == _check(after, query)
    except (binascii.Error, ValueError, TypeError):
        fits = False
    if not fits:
        text = "This is no next_page_token of the same query. Start again without one."
        raise invalid([Violation("page_token", "PAGE_TOKEN", text)])
    return str(after)


def _check(after: str, query: str) -> str:
    return sha256(f"{after}\0{query}".encode()).hexdigest()[:16]
