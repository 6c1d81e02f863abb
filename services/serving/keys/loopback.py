"""Whether a request comes from this machine itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Container
from functools import lru_cache
from urllib.parse import urlsplit

FORWARDING = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""Headers of proxies: one on this machine calls loopback for whomever it serves."""


def is_forwarded(headers: Container[str]) -> bool:
    """Return whether a request came through a proxy that says so."""
    return any(name in headers for name in FORWARDING)


@lru_cache(maxsize=64)
def is_local(host: str, origin: str) -> bool:
    """Return whether a request was made for this machine's own address, and not by a foreign page.

    A page in a browser may send requests to loopback, also under a name of its own that it lets
    point there: who needs no key must at least not be such a page.

    Args:
        host: The header `Host`.
        origin: The header `Origin`; empty when there is none.
    """
    return is_loopback(_hostname(f"//{host}")) and (not origin or is_loopback(_hostname(origin)))


def is_loopback(host: str) -> bool:
    """Return whether a name or an address is the machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
