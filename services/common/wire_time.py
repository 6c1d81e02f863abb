"""Moments and durations as messages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import overload

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


@overload
def timestamp(moment: datetime) -> Timestamp: ...
@overload
def timestamp(moment: None) -> None: ...
@overload
def timestamp(moment: datetime | None) -> Timestamp | None: ...
def timestamp(moment: datetime | None) -> Timestamp | None:
    """Return a moment as a message; None, which leaves a field out, where there is none."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


@overload
def duration(seconds: float) -> Duration: ...
@overload
def duration(seconds: None) -> None: ...
@overload
def duration(seconds: float | None) -> Duration | None: ...
def duration(seconds: float | None) -> Duration | None:
    """Return seconds as a message, to the microsecond; None where there are none."""
    if seconds is None:
        return None
    message = Duration()
    message.FromTimedelta(timedelta(seconds=seconds))
    return message
