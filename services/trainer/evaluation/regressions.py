"""Rows whose scores changed most, down and up. Pure."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_MAX = 8
"""Rows of each kind in a report."""


def most_changed(
    base: Sequence[float | None], tuned: Sequence[float | None]
) -> tuple[list[int], list[int]]:
    """Return positions of the scores that fell most and of those that rose most.

    Rows that one of the two has no score for are left out; of equal changes earlier rows come
    first.
    """
    changed = [
        (after - before, index)
        for index, (before, after) in enumerate(zip(base, tuned, strict=True))
        if before is not None and after is not None and after != before
    ]
    fallen = sorted(one for one in changed if one[0] < 0)
    risen = sorted((one for one in changed if one[0] > 0), key=lambda one: (-one[0], one[1]))
    return [index for _, index in fallen[:SHOWN_MAX]], [index for _, index in risen[:SHOWN_MAX]]
