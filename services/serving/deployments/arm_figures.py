"""What became of the requests to one version of a deployment since the last decision about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from services.serving.deployments.histogram import Histogram

OURS = 500
"""Statuses from here on are errors of ours or of the engine; those below are the caller's."""
MISTAKE = 400


class Arm(NamedTuple):
    """Which requests are counted together."""

    deployment: str
    """Name of the deployment."""
    decision: str
    """Its etag: another decision, other figures."""
    model_version: str


@dataclass
class ArmFigures:
    """Counts of one version."""

    request_count: int = 0
    """Requests that were answered, or failed by an error of ours."""
    error_count: int = 0
    first_token: Histogram = field(default_factory=Histogram)
    """Of streams that did not fail."""
    total: Histogram = field(default_factory=Histogram)
    """Of answers that did not fail: a quick error is no quick answer."""

    def add(self, status: int, first_token_s: float | None, total_s: float) -> None:
        """Count a request that ended; a caller's own mistake is not counted.

        Args:
            status: HTTP status.
            first_token_s: To the first piece of a stream, in seconds; None without one.
            total_s: To the end, in seconds.
        """
        if MISTAKE <= status < OURS:
            return
        self.request_count += 1
        if status >= OURS:
            self.error_count += 1
            return
        if first_token_s is not None:
            self.first_token.add(first_token_s)
        self.total.add(total_s)

    def merge(self, other: ArmFigures) -> None:
        """Add what was counted elsewhere."""
        self.request_count += other.request_count
        self.error_count += other.error_count
        self.first_token.merge(other.first_token)
        self.total.merge(other.total)
