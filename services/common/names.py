"""Resource names, as `projects/{project}/specs/{spec}`: made and read in one place."""

from __future__ import annotations

import re
from uuid import UUID

from services.common.errors import InvalidArgument, Violation, invalid

SEGMENT = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
VERSION = re.compile(r"[1-9][0-9]{0,8}")


def parse(name: str, pattern: str, *, field: str = "name", wildcard: str = "") -> dict[str, str]:
    """Return the variable parts of a resource name.

    Args:
        name: Such as `projects/default/specs/a1`.
        pattern: Such as `projects/{project}/specs/{spec}`.
        field: Request field that holds the name; for the error.
        wildcard: Name of the one part that may be `-`, which stands for all; none when empty.

    Raises:
        InvalidArgument: If the name does not follow the pattern.
    """
    parts, expected = name.split("/"), pattern.split("/")
    found: dict[str, str] = {}
    fits = len(parts) == len(expected)
    for part, wanted in zip(parts, expected, strict=False):
        if not wanted.startswith("{"):
            fits = fits and part == wanted
            continue
        key = wanted[1:-1]
        found[key] = part
        rule = VERSION if key == "version" else SEGMENT
        fits = fits and bool(rule.fullmatch(part) or (part == "-" and key == wildcard))
    if not fits:
        raise bad_name(field, name, pattern)
    return found


def bad_name(field: str, name: str, pattern: str) -> InvalidArgument:
    """Return the error for a name that does not follow its pattern."""
    text = f"'{name[:200]}' is not a name of the form {pattern}. Parts are [a-z][a-z0-9-]*."
    return invalid([Violation(field, "RESOURCE_NAME", text)])


def project_of(name: str) -> str:
    """Return the project in a resource name that was checked before."""
    return name.split("/")[1]


def last_part(name: str) -> str:
    """Return the last part of a resource name that was checked before."""
    return name.rsplit("/", 1)[1]


def check_request_id(request_id: str) -> None:
    """Refuse a request_id that is not a UUID.

    Raises:
        InvalidArgument: If it is not.
    """
    try:
        UUID(request_id)
    except ValueError:
        text = f"'{request_id[:80]}' is not a UUID. Send a new UUID for every new request."
        raise invalid([Violation("request_id", "UUID", text)]) from None
