"""A planner that runs, and a conversation inside one, for the tests that use them."""

from pathlib import Path

import pytest

from tests.planner.planner_service import running_planner
from tests.planner.talk import talking


@pytest.fixture
async def service(tmp_path: Path):
    url = f"sqlite+aiosqlite:///{tmp_path / 'planner.db'}"
    async with running_planner(tmp_path, url) as running:
        yield running


@pytest.fixture
async def talk(tmp_path: Path):
    async with talking(tmp_path) as opened:
        yield opened
