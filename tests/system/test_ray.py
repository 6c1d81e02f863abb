"""The journey on a Ray cluster, by the README's commands: a head of its own, and what may go wrong.

Ray's head is a process of this machine, started as a person starts it; the run is a short one.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from services.common.processes import ProcessFolder
from tests.system.conftest import Installed
from tests.system.network import scripts

pytestmark = pytest.mark.system

EXAMPLE = Path("examples/support-tickets")
START_MAX_S = 90.0
WAIT_MAX_S = 240.0
LOOK_S = 0.5
ROWS = 200
"""Of the example: enough for a plan, and for a run that can be caught while it trains."""


def until(what: str, holds: Callable[[], object]) -> None:
    """Wait for what other processes do."""
    end = time.monotonic() + WAIT_MAX_S
    while not holds():
        assert time.monotonic() < end, f"not within {WAIT_MAX_S:.0f} s: {what}"
        time.sleep(LOOK_S)


class Head:
    """`ray start --head` with a folder and a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = folder.with_suffix(".log")

    def start(self) -> None:
        port = self.address.rpartition(":")[2]
        command = ["start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
        memory = f"--object-store-memory={80 * 1024 * 1024}"
        with self._log.open("ab") as log:
            subprocess.run(
                [scripts() / "ray", *command, memory, f"--temp-dir={self.folder}"],
                env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=START_MAX_S,
                check=True,
            )

    def processes(self) -> list[psutil.Process]:
        """Return the head's own: they name its folder; workers show a title instead."""
        found = []
        for process in psutil.process_iter():
            try:
                if f"{self.folder}/session" in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def actors(self) -> list[psutil.Process]:
        """Return those that stand by a run's process."""
        below = [child for one in self.processes() for child in children(one)]
        return [one for one in below if "_RayMember" in " ".join(line(one))]

    def kill(self) -> None:
        for process in self.processes():
            for each in (process, *children(process)):
                try:
                    each.kill()
                except psutil.Error:
                    continue

    def said(self) -> str:
        return self._log.read_text()[-2000:] if self._log.exists() else ""


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    # Ray's sockets lie below it, and their paths must be short.
    folder = Path("/tmp") / f"attune-ray-{os.getpid()}"
    made = Head(folder)
    try:
        made.start()
    except (OSError, subprocess.SubprocessError) as error:
        made.kill()
        pytest.skip(f"Ray cannot start here: {error} {made.said()}")
    yield made
    made.kill()


@pytest.fixture(scope="module")
def system(new_home: Callable[[str], Installed], head: Head) -> Iterator[Installed]:
    made = new_home("ray")
    up = made.run("attune", "up", "--engine", "ray", "--ray-address", head.address)
    assert up.returncode == 0, up.stdout + up.stderr
    yield made
    made.run("attune", "down")


def job_state(system: Installed, job: str) -> dict:
    return system.json("job", "show", job)


def attempts(system: Installed, job: str) -> int:
    return int(job_state(system, job).get("attempt_count", 0))


def steps(system: Installed) -> int:
    """Return how many optimizer steps all attempts have logged."""
    files = (system.home / "artefacts" / "runs").glob("*/attempt-*/metrics.jsonl")
    return sum(file.read_text().count('"loss"') for file in files)


def test_an_address_without_a_head_is_one_line_before_anything_starts(head, tmp_path):
    other = Installed(tmp_path / "home", [])
    result = other.run("attune", "up", "--engine", "ray", "--ray-address", "127.0.0.1:1")
    said = (result.stdout + result.stderr).strip()
    assert result.returncode == 1
    assert said.startswith("--ray-address 127.0.0.1:1: nobody answers there")
    assert len(said.splitlines()) == 1
    assert other.processes() == []


def test_a_job_outlives_its_ray_worker_its_trainer_and_a_pause(system, head, tmp_path):
    for name, count in (("train", ROWS), ("holdout", 40)):
        rows = (EXAMPLE / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / f"{name}.jsonl").write_text("".join(rows[:count]))
    files = [str(tmp_path / "train.jsonl"), "--holdout", str(tmp_path / "holdout.jsonl")]
    dataset = system.json("dataset", "upload", *files)["name"]
    spec = system.json("spec", "propose", "--dataset", dataset)["name"]
    approved = system.run("attune", "spec", "approve", spec, "--yes")
    assert approved.returncode == 0, approved.stdout + approved.stderr
    until("a job", lambda: system.json("job", "list")["jobs"])
    job = system.json("job", "list")["jobs"][0]["name"]

    until("training", lambda: steps(system) >= 20)
    (actor,) = head.actors()
    actor.kill()
    until("a second attempt", lambda: attempts(system, job) == 2)
    before = steps(system)
    until("training again", lambda: steps(system) > before)
    (actor,) = head.actors()

    trainer = ProcessFolder(system.home).find("trainer")
    os.kill(trainer.pid, signal.SIGKILL)
    until("another trainer", lambda: system.run("attune", "status").returncode == 0)
    assert [one.pid for one in head.actors()] == [actor.pid]

    assert system.run("attune", "job", "pause", job).returncode == 0
    until("the pause", lambda: job_state(system, job)["state"] == "STATE_PAUSED")
    until("free devices", lambda: not head.actors())
    assert system.run("attune", "job", "resume", job, "--continue").returncode == 0
    watched = system.run("attune", "job", "watch", job)
    assert watched.returncode == 0, watched.stdout + watched.stderr
    shown = job_state(system, job)
    assert shown["state"] == "STATE_SUCCEEDED"
    assert attempts(system, job) == 3
    assert head.actors() == []


def test_a_lost_head_leaves_a_trainer_that_serves_and_waits(system, head):
    spec = system.json("spec", "list")["specs"][0]["name"]
    head.kill()
    assert head.processes() == []
    log = system.home / "logs" / "trainer.log"
    until("a trainer without a cluster", lambda: "This service starts anew" in log.read_text())
    until("its next start", lambda: system.run("attune", "status").returncode == 0)
    again = system.run("attune", "up")
    assert again.returncode == 1
    assert "nobody answers there" in again.stderr + again.stdout
    assert "Traceback" not in log.read_text()
    shown = system.run("attune", "spec", "show", spec)
    assert shown.returncode == 0, shown.stderr
    head.start()
    until("a node", lambda: "live           yes" in system.run("attune", "compute", "nodes").stdout)
