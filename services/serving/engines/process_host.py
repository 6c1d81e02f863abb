"""vLLM as a process of this machine, which outlives a restart of serving and is adopted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from services.common.processes import ProcessFolder, ProcessRecord, group_members
from services.serving.engines.adapter import RANK_MAX
from services.serving.engines.base_model import BaseModel
from services.serving.engines.host import EngineFailed, IsHealthy, Opened
from services.serving.engines.residency import LORAS_MAX
from services.serving.engines.tool_parser import find_tool_parser

log = logging.getLogger(__name__)

YOUNG_S = 600.0
"""An engine that was started so recently may still be loading, and is not given up."""
END_GRACE_S = 10.0
END_POLL_S = 0.5

Command = Callable[[BaseModel, int], list[str]]


@dataclass(frozen=True)
class EngineFacts:
    """What a running engine was started for; kept beside its process record."""

    base_model: str
    base_model_revision: str
    port: int


def vllm_command(model: BaseModel, port: int) -> list[str]:
    """Return the command line of vLLM for a model, listening on a port of loopback."""
    parser = find_tool_parser(model.folder)
    tools = ["--enable-auto-tool-choice", "--tool-call-parser", parser] if parser else []
    # The `vllm` command of the CPU wheel fails on its own metadata; the module works.
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model.folder), "--served-model-name", model.id),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", "float32", "--enforce-eager", "--enable-lora"),
        *("--max-lora-rank", str(RANK_MAX), "--max-loras", str(LORAS_MAX)),
        *tools,
        "--disable-uvicorn-access-log",
    ]


def engine_environment(cpus: str) -> dict[str, str]:
    """Return the environment of the engine.

    Args:
        cpus: Cores to bind to, such as `1` or `4-7`; all when empty.
    """
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_MAX_N_SEQUENCES": "16",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        # Compiling one small function costs the first request with log-probabilities 30 s.
        "TORCHDYNAMO_DISABLE": "1",
    }
    if cpus:
        environment["VLLM_CPU_OMP_THREADS_BIND"] = cpus
    return environment


class ProcessHost:
    """One place for an engine's process, with a record, a log and a port of its own."""

    external = False

    def __init__(
        self, home: Path, name: str, port: int, cpus: str = "", command: Command = vllm_command
    ) -> None:
        """Prepare; nothing is started.

        Args:
            home: `$ATTUNE_HOME`.
            name: Of the record and the log, such as `engine`.
            port: To listen on; 0 picks a free one.
            cpus: Cores to bind to; all when empty.
            command: Makes the command line.
        """
        self.name = name
        self._home = home
        self._port = port
        self._environment = engine_environment(cpus)
        self._command = command
        self._processes = ProcessFolder(home)
        self._log = home / "logs" / f"{name}.log"
        self._facts = home / "run" / f"{name}-facts.json"
        self._child: subprocess.Popen[bytes] | None = None
        self._record: ProcessRecord | None = None

    def found(self) -> EngineFacts | None:
        """Return what the engine that lives here was started for; None if none lives."""
        record = self._processes.find(self.name)
        if record is None or not record.is_alive():
            return None
        try:
            return EngineFacts(**json.loads(self._facts.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    async def open(self, model: BaseModel, is_healthy: IsHealthy) -> Opened:
        """Return an engine for a model: the one that lives here, or a new one.

        Raises:
            EngineFailed: If it cannot be started.
        """
        port = await self._adoptable(model, is_healthy)
        if port is not None:
            return Opened(_address(port), is_new=False)
        await self.close()
        return Opened(_address(self._start(model)), is_new=True)

    def is_alive(self) -> bool:
        """Return whether the process runs."""
        if self._child is not None and self._child.poll() is not None:
            return False
        return self._record is not None and self._record.is_alive()

    async def close(self) -> None:
        """End whatever engine is on record, with its whole group."""
        record = self._record or self._processes.find(self.name)
        if record is not None:
            await asyncio.to_thread(self._end_group, record)
        if self._child is not None:
            self._child.poll()  # Reaps it; nobody else does.
        self._record, self._child = None, None

    def last_words(self) -> str:
        """Return the last line of the engine's log that names an error, and where the log is."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()[-200:]
        except OSError:
            lines = []
        errors = [line for line in lines if "Error" in line and "raise " not in line]
        said = (errors or lines or [""])[-1].strip()[-300:]
        return f"Its last words: {said!r}. The whole log: {self._log}."

    async def _adoptable(self, model: BaseModel, is_healthy: IsHealthy) -> int | None:
        """Return the port of a living engine for this model, or None if one must be started."""
        record, facts = self._processes.find(self.name), self.found()
        if record is None or facts is None:
            return None
        if facts != EngineFacts(model.id, model.revision, self._port or facts.port):
            log.info("%s serves something else: %s", self.name, facts)
            return None
        # A young one may still be loading: it is waited for like one of our own.
        is_young = time.time() - record.start_time < YOUNG_S
        if not is_young and not await is_healthy(_address(facts.port)):
            return None
        log.info("adopting %s with pid %d", self.name, record.pid)
        self._record = record
        return facts.port

    def _start(self, model: BaseModel) -> int:
        port = self._port or _free_port()
        if not _is_free(port):
            raise EngineFailed(
                f"Port {port} is in use. Stop what uses it or set ATTUNE_SERVING_ENGINE_PORT."
            )
        for folder in (self._facts.parent, self._log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._facts.write_text(json.dumps(asdict(EngineFacts(model.id, model.revision, port))))
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".previous.log"))
        starter = "services.serving.engines.engine_start"
        with self._log.open("wb") as log_file:
            self._child = subprocess.Popen(
                [
                    *(sys.executable, "-m", starter, str(self._home), self.name),
                    *self._command(model, port),
                ],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._record = self._processes.record(self.name, self._child.pid)
        except psutil.NoSuchProcess:
            raise EngineFailed(f"The engine ended at once. {self.last_words()}") from None
        log.info("started %s with pid %d on port %d", self.name, self._child.pid, port)
        return port

    def _end_group(self, record: ProcessRecord) -> None:
        self._processes.end(record, END_GRACE_S)
        deadline = time.monotonic() + END_GRACE_S
        while group_members(record) and time.monotonic() < deadline:
            time.sleep(END_POLL_S)  # A killed process holds port and memory a moment longer.


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
