from pathlib import Path
from types import SimpleNamespace

import pytest

from services.serving.engines.base_model import BaseModel
from services.serving.engines.engine import EngineState
from services.serving.engines.group import Group, Member

READY, STARTING = EngineState.READY, EngineState.STARTING


@pytest.mark.parametrize(
    ("members", "share"),
    [
        ([(READY, 0)], 1.0),
        ([(READY, 1)], 1.0),
        ([(READY, 4)], 0.25),
        ([(READY, 2), (READY, 2)], 0.5),
        ([(READY, 1), (READY, 0)], 1.0),
        ([(READY, 2), (STARTING, 0)], 0.5),
        ([], 1.0),
    ],
)
def test_requests_share_the_engines_that_answer(members, share):
    group = Group(BaseModel("attune/starter", "r1", Path()))
    for state, user_count in members:
        engine = SimpleNamespace(state=state)
        group.members.append(Member(engine, None, None, None, user_count))
    assert group.share == share
