"""What was used, counted by the hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.common.errors import Violation, invalid

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEPT = timedelta(days=400)
"""How long counts are kept: a year, and a month to look back on it."""
LISTED_MAX = 1000


@dataclass(frozen=True)
class UsageKey:
    """Whose use is counted together."""

    project: str
    hour: datetime
    """Its beginning, in UTC."""
    api_key: str
    """Name; empty without a key."""
    model: str
    """The name that was called."""
    model_version: str
    """Name of the version that answered; empty for a base."""


@dataclass
class Counts:
    """How much it was."""

    request_count: int = 0
    error_count: int = 0
    """Requests that ended with an error of ours or of the engine."""
    prompt_token_count: int = 0
    answer_token_count: int = 0

    def add(self, other: Counts) -> None:
        """Add other counts to these."""
        self.request_count += other.request_count
        self.error_count += other.error_count
        self.prompt_token_count += other.prompt_token_count
        self.answer_token_count += other.answer_token_count


def hour_of(moment: datetime) -> datetime:
    """Return the beginning of a moment's hour."""
    return moment.replace(minute=0, second=0, microsecond=0)


def span_of(
    start: datetime | None, end: datetime | None, now: datetime
) -> tuple[datetime, datetime]:
    """Return the whole hours that are asked for: the last day when nothing is said.

    Raises:
        InvalidArgument: If it ends before it begins.
    """
    until = end or now
    since = start or until - DAY
    if since >= until:
        text = f"{since:%Y-%m-%d %H:%M} is not before {until:%Y-%m-%d %H:%M}. Give an earlier time."
        raise invalid([Violation("start_time", "ORDER", text)])
    last = hour_of(until)
    return hour_of(since), last if last == until else last + HOUR
