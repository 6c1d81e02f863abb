"""Numbers, times and sizes as people read them."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

BAR_CELLS = 24
CENT_MICRO_USD = 10_000
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def number(value: float) -> str:
    """Return a number without noise: 600, 0.0002, 1,344,000."""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.6g}"


def size(count_bytes: int) -> str:
    """Return a size in the largest fitting unit."""
    amount, unit = float(count_bytes), 0
    while amount >= 1024 and unit < len(UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {UNITS[unit]}" if unit == 0 else f"{amount:.1f} {UNITS[unit]}"


def span(seconds: float) -> str:
    """Return a duration in words, coarser the longer it is."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def latency(seconds: float) -> str:
    """Return a short time with three digits: 8.21 ms, 240 ms, 1.52 s."""
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:,.2f} s"


def seconds_of(duration: Duration) -> float:
    """Return a proto's duration in seconds."""
    return float(duration.seconds) + float(duration.nanos) / 1e9


def moment(timestamp: Timestamp) -> str:
    """Return a proto's time to the second, in UTC; empty when it is unset."""
    if not timestamp.seconds:
        return ""
    return timestamp.ToJsonString().split(".")[0].removesuffix("Z").replace("T", " ") + " UTC"


def money(micro_usd: int) -> str:
    """Return a cost; own hardware without a price costs nothing."""
    if micro_usd == 0:
        return "nothing (own hardware)"
    return f"${micro_usd / 1e6:,.2f}" if micro_usd >= CENT_MICRO_USD else "less than $0.01"


def small_money(micro_usd: int) -> str:
    """Return the cost of something small, to the millionth of a dollar."""
    return f"${micro_usd / 1e6:,.6f}"


def share(value: float) -> str:
    """Return a share in [0, 1] in per cent."""
    return f"{100 * value:.1f} %"


def bar(part: float, whole: float) -> str:
    """Return a bar as long as the part is of the whole; something is never nothing."""
    if whole <= 0 or part <= 0:
        return ""
    return "█" * max(1, min(BAR_CELLS, round(BAR_CELLS * part / whole)))


def words(enum_name: str, prefix: str) -> str:
    """Return an enum's value as words: `STATE_CANNOT_TELL` as `cannot tell`."""
    return enum_name.removeprefix(prefix).replace("_", " ").lower()
