"""How often a target outside is looked at: every look is a call that somebody counts."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.common.errors import Unavailable
from services.serving.deployments.deployment import Deployment
from services.serving.targets.target import Progress

WAITING_S = 5.0
"""Between two looks at what is not done."""
DONE_S = 60.0
"""Between two looks at what is done."""


@dataclass(frozen=True)
class _Look:
    time_s: float
    deployment: Deployment
    progress: Progress


class Pace:
    """Looks at deployments now and then, and at once when something is decided."""

    def __init__(
        self, waiting_s: float = WAITING_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Keep how long to wait, in seconds, and the clock."""
        self._waiting_s = waiting_s
        self._clock = clock
        self._looks: dict[str, _Look] = {}

    async def of(self, deployment: Deployment, look: Callable[[], Awaitable[Progress]]) -> Progress:
        """Return what a look shows, or what the last one did if it is too soon for another.

        Raises:
            TargetFailed: If `look` does.
        """
        last = self._looks.get(deployment.name)
        if last is not None and _is_same(last.deployment, deployment):
            wait_s = DONE_S if last.progress.is_done else self._waiting_s
            if self._clock() - last.time_s < wait_s:
                return last.progress
        self._looks.pop(deployment.name, None)
        try:
            progress = await look()
        except Unavailable as error:
            progress = Progress(is_done=False, message=error.message)
        self._looks[deployment.name] = _Look(self._clock(), deployment, progress)
        return progress

    def forget(self, deployment: Deployment) -> None:
        """Forget a deployment that is gone."""
        self._looks.pop(deployment.name, None)


def _is_same(one: Deployment, other: Deployment) -> bool:
    """Return whether the same was decided, and the same answers."""
    return (one.etag, one.state, one.serving) == (other.etag, other.state, other.serving)
