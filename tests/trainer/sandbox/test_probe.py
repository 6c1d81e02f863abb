"""The attacks: all fail behind the walls, and those that harm nothing succeed without them."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.trainer.sandbox import attacks, probe
from services.trainer.sandbox.box import SandboxMissing

FIRST_SEVEN = (
    "network", "memory", "endless", "large_file", "environment", "files", "processes",
)  # fmt: skip
HARMLESS = (
    "network", "memory", "endless", "large_file", "environment", "files", "processes", "program",
    "other_processes", "machine", "write_outside", "modes", "local_socket", "many_files",
    "limits_of_others",
)  # fmt: skip
OUTSIDE = """
import json, sys
sys.path.insert(0, {folder!r})
import attacks
print(attacks.grade({{"output_text": {name!r}}}, json.loads({item!r})))
"""


@functools.cache
def missing() -> str:
    try:
        probe.try_attacks()
    except SandboxMissing as error:
        return str(error)
    return ""


@pytest.fixture
def sandbox():
    if missing():
        pytest.skip(f"no sandbox can be made here: {missing()}")


def test_every_attack_fails_behind_the_walls(sandbox):
    held = probe.try_attacks()
    assert [name for name, ok in held.items() if not ok] == []
    assert tuple(held)[:7] == FIRST_SEVEN
    probe.require_sandbox()


@pytest.mark.parametrize("name", HARMLESS)
def test_the_attacks_are_real(name, tmp_path):
    """An attack that fails everywhere would prove nothing."""
    import json

    with probe.bait(tmp_path) as item:
        item |= {"time_s": 0.05, "memory_bytes": 1024, "file_bytes": 1024, "scratch_bytes": 65536}
        code = OUTSIDE.format(
            folder=str(Path(attacks.__file__).parent), name=name, item=json.dumps(item)
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
            env={"SECRET": "1", "PATH": os.environ["PATH"]},
        )  # fmt: skip
    assert done.stdout.strip() == "1.0", done.stderr


def test_a_wall_that_lets_code_through_refuses_the_sandbox(monkeypatch):
    monkeypatch.setattr(probe, "try_attacks", lambda: {"network": False, "memory": True})
    probe._probed.cache_clear()
    try:
        with pytest.raises(SandboxMissing, match="network"):
            probe.require_sandbox()
    finally:
        probe._probed.cache_clear()
