"""Quantities as a person would say them."""

GIB = 1024**3


def in_words(seconds: float) -> str:
    """Return a time, such as `3 min`."""
    for limit_s, unit_s, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def gib(size_bytes: int) -> str:
    """Return a size, such as `22.2 GiB`."""
    return f"{size_bytes / GIB:.1f} GiB"


def usd(micro_usd: int) -> str:
    """Return a price, such as `$1.20`."""
    if 0 < micro_usd < 10_000:
        return "less than $0.01"
    return f"${micro_usd / 1e6:,.2f}"
