"""Processes are kept running, adopted after a crash, and ended without a trace."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cli.home import Home
from cli.launcher.supervision import State, read_supervision
from cli.launcher.teardown import end_all, living
from services.common.processes import ProcessFolder

pytestmark = pytest.mark.system

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "time.sleep(600)",
]
FAILING = [sys.executable, "-c", "raise SystemExit('Port 7104 is taken. Choose another.')"]
WAIT_MAX_S = 30.0


def until(condition: Callable[[], object]) -> object:
    """Return the first true answer; other processes are at work, there is nothing to await."""
    deadline = time.monotonic() + WAIT_MAX_S
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
    return answer


class Supervised:
    """A home with a supervisor of dummy processes."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.folder = ProcessFolder(home.root)
        self.started: list[subprocess.Popen] = []

    def start(self, **plan: list[str]) -> None:
        """Start a supervisor of these commands."""
        self.plan(**plan)
        script = Path(__file__).with_name("supervised.py")
        process = subprocess.Popen(
            [sys.executable, script, self.home.root], stderr=subprocess.DEVNULL
        )
        self.started.append(process)
        until(lambda: all(self.pid(name) for name in plan))

    def plan(self, **plan: list[str]) -> None:
        """Write the plan."""
        self.home.root.mkdir(exist_ok=True)
        (self.home.root / "plan.json").write_text(json.dumps(plan))

    def pid(self, name: str) -> int:
        """Return the id of a live process, or 0."""
        record = self.folder.find(name)
        return record.pid if record and record.is_alive() else 0

    def state(self, name: str) -> State | None:
        """Return what the supervisor says of a process."""
        known = read_supervision(self.home).get(name)
        return known.state if known else None

    def kill_supervisor(self) -> None:
        """Kill it as a crash would."""
        self.started[-1].kill()
        self.started[-1].wait()


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    monkeypatch.setattr("cli.launcher.teardown.GRACE_S", 1.0)
    made = Supervised(Home(tmp_path))
    yield made
    end_all(made.home)
    for process in made.started:
        process.kill()
        process.wait()


def test_a_killed_process_is_started_again(supervised):
    supervised.start(planner=SLEEP)
    first = supervised.pid("planner")
    os.kill(first, signal.SIGKILL)
    until(lambda: supervised.pid("planner") not in (0, first))
    until(lambda: read_supervision(supervised.home)["planner"].restart_count == 1)


def test_one_that_keeps_dying_is_given_up_with_its_last_words(supervised):
    supervised.start(planner=SLEEP)
    supervised.plan(planner=SLEEP, serving=FAILING)
    os.kill(supervised.started[-1].pid, signal.SIGHUP)
    until(lambda: supervised.state("serving") is State.GIVEN_UP)
    known = read_supervision(supervised.home)["serving"]
    assert (known.restart_count, known.on_purpose) == (5, True)
    assert known.reason == "Port 7104 is taken. Choose another."
    assert until(lambda: supervised.pid("planner"))


def test_what_was_given_up_gets_another_chance_when_it_is_asked_for_again(supervised):
    supervised.start(planner=SLEEP)
    supervised.plan(planner=SLEEP, serving=FAILING)
    os.kill(supervised.started[-1].pid, signal.SIGHUP)
    until(lambda: supervised.state("serving") is State.GIVEN_UP)
    supervised.plan(planner=SLEEP, serving=SLEEP)
    os.kill(supervised.started[-1].pid, signal.SIGHUP)
    until(lambda: supervised.pid("serving"))
    until(lambda: supervised.state("serving") is State.RUNNING)


def test_what_a_dead_process_leaves_behind_is_ended_before_it_starts_again(supervised):
    supervised.start(mlflow=STUBBORN)
    leader = psutil.Process(supervised.pid("mlflow"))
    (child,) = until(leader.children)
    leader.kill()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    until(lambda: supervised.pid("mlflow") not in (0, leader.pid))


def test_sighup_adds_what_the_plan_has_gained(supervised):
    supervised.start(planner=SLEEP)
    first = supervised.pid("planner")
    supervised.plan(planner=SLEEP, trainer=SLEEP)
    os.kill(supervised.started[-1].pid, signal.SIGHUP)
    until(lambda: supervised.pid("trainer"))
    assert supervised.pid("planner") == first


def test_a_new_supervisor_takes_over_what_runs_and_watches_it(supervised):
    supervised.start(planner=SLEEP, trainer=SLEEP)
    pids = supervised.pid("planner"), supervised.pid("trainer")
    supervised.kill_supervisor()
    assert (supervised.pid("planner"), supervised.pid("trainer")) == pids
    supervised.home.supervision.unlink()
    supervised.start(planner=SLEEP, trainer=SLEEP)
    until(lambda: supervised.state("trainer") is State.RUNNING)
    assert (supervised.pid("planner"), supervised.pid("trainer")) == pids
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: supervised.pid("planner") not in (0, pids[0]))


def test_sigterm_ends_everything(supervised):
    supervised.start(planner=SLEEP, trainer=STUBBORN)
    supervised.started[-1].terminate()
    assert supervised.started[-1].wait(WAIT_MAX_S) == 0
    assert [record.name for record in living(supervised.home)] == []


@pytest.mark.parametrize("kill_first", [False, True])
def test_down_leaves_nothing_also_when_the_supervisor_was_killed(supervised, kill_first):
    supervised.start(planner=SLEEP, serving=STUBBORN)
    engine = subprocess.Popen(STUBBORN, start_new_session=True)
    supervised.folder.record("engine", engine.pid)
    (child,) = until(psutil.Process(engine.pid).children)
    groups = {engine.pid, supervised.pid("planner"), supervised.pid("serving")}
    if kill_first:
        supervised.kill_supervisor()
        os.kill(supervised.pid("serving"), signal.SIGKILL)
    assert end_all(supervised.home) == []
    engine.wait()
    assert supervised.folder.all() == []
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert {group_of(process) for process in psutil.process_iter()} & groups == set()


def test_a_stale_record_ends_nobody_else(supervised):
    stranger = subprocess.Popen(SLEEP, start_new_session=True)
    began = psutil.Process(stranger.pid).create_time()
    run = supervised.home.root / "run"
    run.mkdir(parents=True)
    for name, pid, start in (
        ("planner", stranger.pid, began - 3600),
        ("trainer", 2**22 - 1, began - 3600),
    ):
        (run / f"{name}.json").write_text(
            json.dumps({"name": name, "pid": pid, "start_time": start})
        )
    (run / "broken.json").write_text("{")
    assert living(supervised.home) == []
    assert end_all(supervised.home) == []
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_process_is_recorded_under_its_own_id_before_it_begins(tmp_path):
    code = "import sys; from pathlib import Path; print(Path(sys.argv[1]).exists())"
    command = (sys.executable, "-c", code, str(tmp_path / "run" / "a.json"))
    process = recorded(tmp_path, "a", command)
    assert process.communicate()[0] == b"True\n"
    assert ProcessFolder(tmp_path).find("a").pid == process.pid


def test_a_program_that_cannot_be_started_is_one_line(tmp_path):
    process = recorded(tmp_path, "a", ("/no/such/program",))
    _, err = process.communicate()
    assert err.decode().strip() == (
        "/no/such/program cannot be started (No such file or directory). Run `make setup`."
    )
    assert ProcessFolder(tmp_path).all() == []


def test_a_process_whose_starter_is_gone_does_not_begin(tmp_path):
    command = [sys.executable, "-m", "cli.launcher.recorded", "a", str(tmp_path), "1", *SLEEP]
    result = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    assert result.returncode == 1
    assert ProcessFolder(tmp_path).all() == []


def test_a_home_has_one_supervisor(tmp_path):
    environ = {**os.environ, "ATTUNE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "cli.launcher.supervisor", str(os.getpid())]
    first = subprocess.Popen(command, env=environ, start_new_session=True)
    home = Home(tmp_path)
    until(lambda: ProcessFolder(tmp_path).find("supervisor"))
    second = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert second.returncode == 1
    assert "Another supervisor" in second.stderr
    assert ProcessFolder(tmp_path).find("supervisor").pid == first.pid
    assert end_all(home) == []
    assert first.wait() == 0


def test_up_fails_with_the_line_of_what_is_wrong_and_leaves_nothing(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        environ = {
            **os.environ,
            "ATTUNE_HOME": str(tmp_path),
            "ATTUNE_PORT_BASE": "0",
            "ATTUNE_SCHEDULER_PORT": port,
        }
        result = attune("up", environ)
    assert result.returncode == 1
    assert result.stderr.strip() == (
        f"Port {port} for scheduler cannot be used (Address already in use). Stop what uses it, "
        "or set ATTUNE_SCHEDULER_PORT to another one (0 picks a free one)."
    )
    assert living(Home(tmp_path)) == []


def test_up_fails_with_the_line_of_a_service_that_cannot_start_and_leaves_nothing(tmp_path):
    environ = {
        **os.environ,
        "ATTUNE_HOME": str(tmp_path),
        "ATTUNE_PORT_BASE": "0",
        "ATTUNE_SCHEDULER_SPEED": "9",
    }
    result = attune("up", environ)
    assert result.returncode == 1
    assert result.stderr.strip().startswith("scheduler: ATTUNE_SCHEDULER_SPEED is not a setting.")
    assert ProcessFolder(tmp_path).all() == []
    assert not Home(tmp_path).endpoints.exists()


def test_status_and_down_of_nothing(tmp_path):
    environ = {**os.environ, "ATTUNE_HOME": str(tmp_path)}
    status = attune("status", environ, "--json")
    assert status.returncode == 1
    assert {one["state"] for one in json.loads(status.stdout)} == {"stopped"}
    down = attune("down", environ)
    assert (down.returncode, down.stdout.splitlines()[0]) == (0, "Nothing was running.")


def attune(command: str, environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "cli", command, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def recorded(home: Path, name: str, command: tuple[str, ...]) -> subprocess.Popen:
    from cli.launcher.recorded import recorded_command

    return subprocess.Popen(
        recorded_command(name, home, command),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def group_of(process: psutil.Process) -> int:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return 0
        return os.getpgid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return 0
