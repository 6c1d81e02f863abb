"""One process of a run and who stands by it, without a cluster."""

import asyncio
import threading
from pathlib import Path

import psutil
import pytest

from services.common.artefacts import Artefacts
from services.trainer.attempt import Attempt
from services.trainer.engine import member as member_module
from services.trainer.engine.member import Member
from services.trainer.fork_server import CANCEL
from services.trainer.run import ExitCode
from tests.trainer import tiny

pytestmark = pytest.mark.system

TIMEOUT_S = 90.0


class Watched(Member):
    """Says when nobody asked any more."""

    def __init__(self) -> None:
        self.silent = threading.Event()
        super().__init__()

    def on_silence(self) -> None:
        self.silent.set()


@pytest.fixture
def attempt(tmp_path: Path, artefacts: Artefacts, revision: str) -> Attempt:
    train = tiny.put_rows(artefacts, tiny.rows(72))
    holdout = tiny.put_rows(artefacts, tiny.rows(4))
    spec = tiny.a_spec(revision, train, holdout, epoch_count=100.0)
    return Attempt.create(artefacts.attempt("j1-s0", 1), tiny.a_manifest(tmp_path, spec))


async def test_it_starts_once_hands_on_cancel_and_says_how_it_ended(attempt):
    member = Watched()
    folder = str(attempt.folder)
    member.start(folder, folder, {})
    process = member._process
    member.start(folder, folder, {})
    assert member._process is process
    async with asyncio.timeout(TIMEOUT_S):
        while (seen := member.poll()).message_count < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        assert seen.code is None
        member.tell(CANCEL)
        while (seen := member.poll()).code is None:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert (seen.code, seen.oom_killed) == (ExitCode.CANCELLED, False)


async def test_it_ends_its_process_when_nobody_asks_any_more(attempt, monkeypatch):
    monkeypatch.setattr(member_module, "SILENCE_MAX_S", 2.0)
    member = Watched()
    member.start(str(attempt.folder), str(attempt.folder), {})
    pid = member._process.pid
    assert psutil.pid_exists(pid)
    assert await asyncio.to_thread(member.silent.wait, TIMEOUT_S)
    assert not psutil.pid_exists(pid)
