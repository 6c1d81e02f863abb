"""Turns what went wrong into lines that a person can act on."""

from __future__ import annotations

import os
import re
import traceback
from datetime import UTC, datetime

from cli.home import Home
from cli.log_files import open_log
from services.common.errors import InvalidArgument, ServiceError, Unavailable

VIOLATIONS_SHOWN_MAX = 20
ADDRESS = re.compile(r"(?:ipv4:)?(\d+\.\d+\.\d+\.\d+:\d+)")


def explained(error: ServiceError) -> list[str]:
    """Return what a service refused, line by line: every violation with its field and remedy."""
    if isinstance(error, InvalidArgument) and error.violations:
        shown = error.violations[:VIOLATIONS_SHOWN_MAX]
        lines = [f"{item.field}: {item.message} [{item.rule}]" for item in shown]
        if more := len(error.violations) - len(shown):
            lines.append(f"... and {more} more")
        return lines
    if isinstance(error, Unavailable) and error.reason == "UNAVAILABLE":
        found = ADDRESS.search(error.message)
        where = f" at {found.group(1)}" if found else ""
        return [
            f"The service{where} does not answer. `attune status` shows what runs; "
            "`attune up` starts what is missing."
        ]
    return [error.message]


def log_fault(error: BaseException) -> str:
    """Write a fault of ours to the log and return the line that the person gets instead."""
    path = Home.read().log("cli")
    text = "".join(traceback.format_exception(error))
    try:
        with open_log(path) as log:
            log.write(f"{datetime.now(UTC).isoformat()} {os.getpid()}\n{text}\n".encode())
    except OSError as unwritten:
        return (
            f"Something went wrong ({type(error).__name__}: {error}), and {path} cannot be "
            f"written ({unwritten.strerror})."
        )
    return f"Something went wrong here: {type(error).__name__}. The details are in {path}."
