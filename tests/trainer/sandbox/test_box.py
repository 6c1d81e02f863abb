"""The interpreter behind the walls lives and ends with the side that asks."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from services.trainer.sandbox.box import Box, BoxEnded, SandboxMissing, SourceBroken
from services.trainer.sandbox.probe import require_sandbox

SOURCE = "def grade(sample, item):\n    return 1\n"
OWNER = """
import sys, time
from services.trainer.sandbox.box import Box
box = Box({source!r})
box.grade({{}}, {{}})
print(box._process.pid, flush=True)
time.sleep(60)
"""
DEADLINE_S = 20.0


@pytest.fixture(autouse=True, scope="module")
def sandbox():
    try:
        require_sandbox()
    except SandboxMissing as error:
        pytest.skip(f"no sandbox can be made here: {error}")


def wait_gone(pids: list[int]) -> list[int]:
    ends = time.monotonic() + DEADLINE_S
    while time.monotonic() < ends and any(map(psutil.pid_exists, pids)):
        time.sleep(0.02)
    return [pid for pid in pids if psutil.pid_exists(pid)]


def family(pid: int) -> list[int]:
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def test_it_ends_when_its_owner_is_killed():
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(source=SOURCE)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    pids = family(int(owner.stdout.readline()))
    assert len(pids) == 2
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert wait_gone(pids) == []


def test_it_ends_with_its_box_and_starts_again_when_it_was_killed():
    box = Box(SOURCE)
    assert box.grade({}, {}) == {"score": 1.0}
    pids = family(box._process.pid)
    os.kill(pids[1], signal.SIGKILL)
    assert wait_gone(pids[1:]) == []
    try:
        reply = box.grade({}, {})
    except BoxEnded:
        reply = box.grade({}, {})
    assert reply == {"score": 1.0}
    pids = family(box._process.pid)
    del box
    assert wait_gone(pids) == []


def test_source_that_is_no_python_is_told():
    with pytest.raises(SourceBroken, match="SyntaxError"):
        Box("def").grade({}, {})


def test_a_machine_without_a_wall_is_told(monkeypatch):
    from services.trainer.sandbox import box

    start = box.START.replace("main()", "walls.landlock_abi = lambda: 0; main()").replace(
        "import main", "import main, walls"
    )
    monkeypatch.setattr(box, "START", start)
    with pytest.raises(SandboxMissing, match="no Landlock"):
        Box(SOURCE).grade({}, {})
