"""How two workers share the suite, each a process with one of the machine's two cores.

A file's tests stay together, because they share what they have started; and so do files that share
more than that.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TOGETHER = {
    # They share one demo. Ray's daemons take ports of the whole machine.
    "tests/system/": "system",
    "tests/trainer/engine/test_ray_cluster.py": "system",
}
"""Starts of paths, and what they share."""


def unit_of(nodeid: str) -> str:
    """Return what a test must not be separated from: its file, or files that share more."""
    path = nodeid.split("::", 1)[0]
    names = (name for start, name in TOGETHER.items() if path.startswith(start))
    return next(names, path)


def longest_first(items: list[pytest.Item]) -> None:
    """Sort tests, in place, so that both workers end at about the same time.

    What starts real processes takes long, and what is shared by many files longest.
    """
    slow = {unit_of(item.nodeid) for item in items if item.get_closest_marker("system")}
    shared = set(TOGETHER.values())

    def rank(item: pytest.Item) -> tuple[bool, bool, str]:
        unit = unit_of(item.nodeid)
        return unit not in shared, unit not in slow, unit if unit in shared else ""

    items.sort(key=rank)


class InUnits(LoadScopeScheduling):
    """Hands out units in their order."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
