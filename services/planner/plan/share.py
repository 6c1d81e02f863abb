"""What a share measured on some rows is worth."""

from __future__ import annotations

import math

ONE_SIDED_95 = 1.645
"""Standard normal quantile."""
TWO_SIDED_95 = 1.96


def lower_bound(share: float, rows: int) -> float:
    """Return the lower end of Wilson's one-sided 95 % interval.

    Args:
        share: Of successes, in [0, 1].
        rows: In the sample, at least 1.
    """
    z = ONE_SIDED_95
    centre = share + z * z / (2 * rows)
    spread = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return (centre - spread) / (1 + z * z / rows)


def reaches(share: float, target: float, rows: int | None) -> bool:
    """Return whether a measured share is at a target, and not by chance alone.

    Args:
        share: Of successes, in [0, 1].
        target: In [0, 1].
        rows: In the sample; None when unknown, and then the share is taken as it is.
    """
    return share >= target and (not rows or lower_bound(share, rows) >= target)


def half_width(rows: int) -> float:
    """Return half the 95 % interval of a pass rate of 50 %, in percentage points.

    Args:
        rows: Held out, at least 1.
    """
    return 100 * TWO_SIDED_95 * math.sqrt(0.25 / rows)
