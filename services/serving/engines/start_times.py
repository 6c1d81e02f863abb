"""How long engines take to start here, learnt from their starts."""

from __future__ import annotations

import json
import logging
from pathlib import Path

log = logging.getLogger(__name__)

FIRST_S = 60.0
"""Expected of a model that was never started here; a small one on two cores takes about that."""
MODELS_MAX = 100
"""Models that are remembered."""


class StartTimes:
    """The newest start of each model, kept in a file."""

    def __init__(self, path: Path) -> None:
        """Read the file; one that cannot be read is as good as none."""
        self._path = path
        try:
            kept = json.loads(path.read_text())
            self._seconds = {str(name): float(value) for name, value in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._seconds = {}

    def expected_s(self, model_id: str) -> float:
        """Return how long a start of a model takes, in seconds, at least 1."""
        return max(1.0, self._seconds.get(model_id, FIRST_S))

    def note(self, model_id: str, seconds: float) -> None:
        """Remember how long a start took."""
        self._seconds.pop(model_id, None)
        self._seconds[model_id] = round(seconds, 1)
        while len(self._seconds) > MODELS_MAX:
            del self._seconds[next(iter(self._seconds))]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._seconds))
        except OSError as error:
            log.warning("how long engines take to start could not be kept: %s", error)
