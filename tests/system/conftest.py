"""One whole Attune for all tests of this folder, without any network but loopback."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from bench.system import System
from tests.system.network import LoopbackOnly, is_alone, scripts

ROOT = Path(__file__).parents[2]
COMMAND_TIMEOUT_S = 1500
NO_ENGINE = {"ATTUNE_SERVING_ENGINE_URLS": "attune/starter=http://127.0.0.1:1"}
"""An engine that others look after, and nobody does: starting one of our own keeps both cores busy
for longer than most of what is tested."""


@dataclass
class Installed:
    """A home with its processes, seen through the commands that a person types."""

    home: Path
    prefix: list[str]
    settings: dict[str, str] = field(default_factory=dict)
    """Environment of its commands, beyond what names the home."""

    def run(self, *command: str, timeout_s: int = COMMAND_TIMEOUT_S) -> subprocess.CompletedProcess:
        """Run a command of the environment; it may fail."""
        own = {"ATTUNE_HOME": str(self.home), "ATTUNE_PORT_BASE": "0"}
        return subprocess.run(
            [*self.prefix, scripts() / command[0], *command[1:]],
            env=os.environ | own | self.settings,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def json(self, *arguments: str):
        """Run `attune ... --json` and return what it printed."""
        result = self.run("attune", *arguments, "--json")
        assert result.returncode == 0, result.stdout + result.stderr
        return json.loads(result.stdout)

    def processes(self) -> list[psutil.Process]:
        """Return every live process that was started for this home."""
        return System(self.home).processes()


@pytest.fixture(scope="session")
def network() -> Iterator[list[str]]:
    """What to put before a command so that it has no network; nothing where that is forbidden."""
    try:
        namespace = LoopbackOnly()
    except OSError:
        yield []
        return
    yield namespace.prefix()
    namespace.close()


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, network) -> Iterator[Installed]:
    system = Installed(tmp_path_factory.mktemp("home").resolve(), network)
    yield system
    system.run("attune", "down")


@dataclass(frozen=True)
class Demo:
    """What one run of the demo said and wrote."""

    text: str
    outcome: dict


@pytest.fixture(scope="session")
def demo(installed: Installed) -> Demo:
    """The whole journey, once, from nothing."""
    path = installed.home / "demo.json"
    result = installed.run("attune", "demo", "--approve", "--json", str(path))
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-3000:]
    return Demo(result.stdout, json.loads(path.read_text()))


@pytest.fixture(scope="session")
def new_home(
    installed: Installed, demo: Demo, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Installed]:
    """Makes homes outside of the demo's network, without an engine, and with the base model that
    the demo made: making it takes long too."""

    def make(name: str) -> Installed:
        home = tmp_path_factory.mktemp(name).resolve()
        shutil.copytree(installed.home / "artefacts" / "models", home / "artefacts" / "models")
        return Installed(home, [], NO_ENGINE)

    return make


@pytest.fixture
def offline(network) -> None:
    """Skip where a namespace cannot be made."""
    if not network:
        pytest.skip("this machine allows no network namespace")
    assert is_alone(network)
