"""Real servers for tests: NATS and PostgreSQL from their wheels."""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = Path(sys.executable).parent
START_TIMEOUT_S = 20.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NatsServer:
    """A JetStream server that can be stopped and started again on the same port and store."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        command = [SCRIPTS / "nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-js"]
        with (self._folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-sd", self._folder / "store"], stdout=log, stderr=log
            )
        wait_for_port(self.port)

    def stop(self) -> None:
        """Kill it, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def wait_for_port(port: int) -> None:
    """Return when something listens on the port of this machine."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)  # Another process is starting; there is nothing to await.


def asyncpg_url(uri: str) -> str:
    """Return SQLAlchemy's form of a `postgresql://` URI."""
    return re.sub(r"^postgresql://", "postgresql+asyncpg://", uri)
