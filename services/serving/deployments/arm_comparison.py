"""Whether a canary fails more often than the version beside it, and how much longer it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.serving.deployments.arm_figures import ArmFigures
from services.serving.deployments.histogram import Histogram

LEVEL = 0.01
"""A difference of error rates counts when chance alone would show one so large less often. One in a
hundred, for people look more than once: one error among the first fifty is not to stop anybody."""
REQUESTS_MIN = 50
"""Of each version, before no difference means anything, and before times are compared."""
LIKELY = 1e-7
"""Relative slack in comparing probabilities, which are sums of rounded logarithms."""


@dataclass(frozen=True)
class ArmComparison:
    """What the figures say about promoting a canary."""

    is_worse: bool
    """Whether it fails more often, beyond what chance explains."""
    text: str


def compare(version: ArmFigures, canary: ArmFigures) -> ArmComparison:
    """Compare a canary with the version beside it.

    Args:
        version: Of the version, since the canary was decided on.
        canary: Of the canary, for the same time.
    """
    if canary.request_count == 0:
        return ArmComparison(False, "The canary has answered no request yet.")
    if version.request_count == 0:
        return ArmComparison(
            False,
            f"The canary had {canary.request_count:,} requests, {_share(canary)} failed; nothing "
            "was asked of the version beside it, so there is nothing to compare with.",
        )
    chance = fisher(
        canary.error_count, canary.request_count, version.error_count, version.request_count
    )
    differs = chance < LEVEL
    is_worse = differs and _rate(canary) > _rate(version)
    fewest = min(canary.request_count, version.request_count)
    if differs:
        told = f"it fails {'more' if is_worse else 'less'} often (p = {_shown(chance)})"
    elif fewest < REQUESTS_MIN:
        told = f"too few to tell; it takes {REQUESTS_MIN} requests of each"
    else:
        told = f"no difference can be told (p = {_shown(chance)})"
    parts = [
        f"The canary had {canary.request_count:,} requests, {_share(canary)} failed against "
        f"{_share(version)} of {version.request_count:,}: {told}."
    ]
    for what, ours, theirs in (
        ("first token", canary.first_token, version.first_token),
        ("whole answer", canary.total, version.total),
    ):
        parts += _times(what, ours, theirs)
    return ArmComparison(is_worse, " ".join(parts))


def fisher(errors_a: int, count_a: int, errors_b: int, count_b: int) -> float:
    """Return the two-sided probability of Fisher's exact test that two error rates are equal.

    It holds for any counts, also small ones and none.

    Args:
        errors_a: Errors among `count_a` requests.
        count_a: Requests of one.
        errors_b: Errors among `count_b` requests.
        count_b: Requests of the other.
    """
    errors, count = errors_a + errors_b, count_a + count_b
    lowest, highest = max(0, errors - count_b), min(errors, count_a)

    def log_chance(among_a: int) -> float:
        return (
            _log_choose(count_a, among_a)
            + _log_choose(count_b, errors - among_a)
            - _log_choose(count, errors)
        )

    seen = log_chance(errors_a)
    chances = (log_chance(among_a) for among_a in range(lowest, highest + 1))
    return min(1.0, math.fsum(math.exp(one) for one in chances if one <= seen + LIKELY))


def _log_choose(count: int, chosen: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)


def _times(what: str, ours: Histogram, theirs: Histogram) -> list[str]:
    """Return how many times as long the canary takes; nothing where too few were counted."""
    if min(ours.total, theirs.total) < REQUESTS_MIN:
        return []
    ratios = []
    for share in (0.5, 0.95):
        mine, other = ours.quantile(share), theirs.quantile(share)
        if not mine or not other:
            return []
        ratios.append(mine / other)
    return [
        f"Its median {what} takes {ratios[0]:.2f} times as long, the slowest twentieth begins at "
        f"{ratios[1]:.2f} times."
    ]


def _rate(figures: ArmFigures) -> float:
    return figures.error_count / figures.request_count


def _share(figures: ArmFigures) -> str:
    return f"{100 * _rate(figures):.3g} %"


def _shown(chance: float) -> str:
    return f"{chance:.2g}" if chance >= 0.001 else "under 0.001"
