"""Owns the vLLM process: starts, adopts, watches and ends it."""

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
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from services.common.artefacts import Artefacts
from services.common.errors import Unavailable
from services.common.processes import ProcessFolder, ProcessRecord, group_members
from services.serving.adapter import RANK_MAX
from services.serving.base_model import BaseModel, find_base_model
from services.serving.engine_client import EngineClient, new_session
from services.serving.engine_start import NAME
from services.serving.residency import LORAS_MAX

log = logging.getLogger(__name__)

MODEL_POLL_S = 1.0
START_TIMEOUT_S = 600.0
START_POLL_S = 0.5
HEALTH_S = 3.0
"""Between two looks at /health."""
HEALTH_FAILURES_MAX = 3
PROBE_S = 30.0
"""Between two one-token probes."""
PROBE_FAILURES_MAX = 2
STARTS_MAX = 5
"""Starts in a row that never became READY, after which it stays FAILED."""
BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
END_GRACE_S = 10.0
RETRY_AFTER_S = 5.0

Command = Callable[[BaseModel, int], list[str]]


class EngineState(StrEnum):
    """Whether the engine answers."""

    WAITING_FOR_MODEL = "WAITING_FOR_MODEL"
    STARTING = "STARTING"
    READY = "READY"
    FAILED = "FAILED"


class EngineFailed(Exception):
    """The engine did not become ready; the text says why."""


@dataclass(frozen=True)
class EngineFacts:
    """What a running engine was started for; kept beside its process record."""

    base_model: str
    base_model_revision: str
    port: int


def vllm_command(base: BaseModel, port: int) -> list[str]:
    """Return the command line of vLLM for a base model, listening on a port of loopback."""
    # The `vllm` command of the CPU wheel fails on its own metadata; the module works.
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(base.folder), "--served-model-name", base.id),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", "float32", "--enforce-eager", "--enable-lora"),
        *("--max-lora-rank", str(RANK_MAX), "--max-loras", str(LORAS_MAX)),
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


class Engine:
    """The one engine of this service and whether it answers."""

    def __init__(
        self,
        home: Path,
        artefacts: Artefacts,
        model_id: str,
        port: int,
        cpus: str = "",
        command: Command = vllm_command,
    ) -> None:
        """Prepare; `run` does the rest.

        Args:
            home: `$ATTUNE_HOME`.
            artefacts: Where the base model will be.
            model_id: Id of the base model.
            port: To listen on; 0 picks a free one.
            cpus: Cores to bind to; all when empty.
            command: Makes the command line.
        """
        self.state = EngineState.WAITING_FOR_MODEL
        self.reason = f"{model_id} is not at hand yet."
        self.generation = 0
        """Counts the processes that became READY; what was loaded into an older one is gone."""
        self.model_id = model_id
        self.base: BaseModel | None = None
        self._artefacts = artefacts
        self._home = home
        self._port = port
        self._environment = engine_environment(cpus)
        self._command = command
        self._processes = ProcessFolder(home)
        self._log = home / "logs" / "engine.log"
        self._facts = home / "run" / "engine-facts.json"
        self._child: subprocess.Popen[bytes] | None = None
        self._record: ProcessRecord | None = None
        self._session = new_session()
        self._client: EngineClient | None = None
        self._changed = asyncio.Condition()
        self._look = asyncio.Event()

    @property
    def revision(self) -> str:
        """Revision of the base model; empty while it is not at hand."""
        return self.base.revision if self.base else ""

    def client(self) -> EngineClient:
        """Return the way to the engine.

        Raises:
            Unavailable: If it is not READY.
        """
        if self.state is EngineState.READY and self._client is not None:
            return self._client
        raise Unavailable(
            f"The engine is not ready ({self.state}): {self.reason}",
            reason="ENGINE_NOT_READY",
            retry_after_s=RETRY_AFTER_S,
            state=self.state.value,
            state_reason=self.reason,
        )

    async def wait_until_ready(self) -> None:
        """Return when the engine is READY, however long that takes."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.state is EngineState.READY)

    async def run(self) -> None:
        """Keep the engine alive, for ever."""
        self.base = await self._wait_for_model()
        failures = 0
        while failures < STARTS_MAX:
            try:
                await self._bring_up(self.base)
            except EngineFailed as error:
                failures += 1
                await self._enter(EngineState.FAILED, str(error))
                await self._end()
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S)) - 1])
                continue
            failures = 0
            self.generation += 1
            await self._enter(EngineState.READY, f"Serves {self.base.id}.")
            reason = await self._watch()
            await self._enter(EngineState.FAILED, reason)
            await self._end()
            await asyncio.sleep(BACKOFF_S[0])
        await self._enter(
            EngineState.FAILED,
            f"{self.reason} Gave up after {STARTS_MAX} starts; mend it and restart serving.",
        )
        await asyncio.Event().wait()  # The rest of the service goes on and says why.

    async def stop(self) -> None:
        """End the engine with all its processes, after `run` was cancelled."""
        await self._enter(EngineState.FAILED, "Serving is stopping.")
        await self._end()
        await self._session.close()

    async def _wait_for_model(self) -> BaseModel:
        while True:
            base = await asyncio.to_thread(find_base_model, self._artefacts, self.model_id)
            if base is not None:
                return base
            await asyncio.sleep(MODEL_POLL_S)  # Another process makes the files.

    async def _bring_up(self, base: BaseModel) -> None:
        """Adopt a living engine or start one, and wait until it makes a token."""
        await self._enter(EngineState.STARTING, f"Loading {base.id}; about a minute on a CPU.")
        port = await self._adoptable(base)
        if port is None:
            await self._end()
            port = self._start(base)
        client = EngineClient(self._session, port, base.id, self._look.set)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await client.is_healthy():
            if not self._is_alive():
                raise EngineFailed(f"The engine ended while it started. {self._last_words()}")
            if time.monotonic() > deadline:
                raise EngineFailed(f"The engine took over {START_TIMEOUT_S:g} s to start.")
            await asyncio.sleep(START_POLL_S)  # Another process starts; nothing to await.
        # The first token takes longer; whoever asks first shall not wait for it.
        if not await client.probe():
            raise EngineFailed(f"The engine makes no token. {self._last_words()}")
        self._client = client

    async def _adoptable(self, base: BaseModel) -> int | None:
        """Return the port of a living engine for this base, or None if one must be started."""
        record = self._processes.find(NAME)
        try:
            facts = EngineFacts(**json.loads(self._facts.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        if record is None or not record.is_alive():
            return None
        wanted = EngineFacts(base.id, base.revision, self._port or facts.port)
        if facts != wanted:
            log.info("the engine that runs serves something else: %s", facts)
            return None
        client = EngineClient(self._session, facts.port, base.id, self._look.set)
        # A young one may still be loading: it is waited for like one of our own.
        young = time.time() - record.start_time < START_TIMEOUT_S
        if not await client.is_healthy() and not young:
            return None
        log.info("adopting the engine with pid %d", record.pid)
        self._record = record
        return facts.port

    def _start(self, base: BaseModel) -> int:
        port = self._port or _free_port()
        if not _is_free(port):
            raise EngineFailed(
                f"Port {port} is in use. Stop what uses it or set ATTUNE_SERVING_ENGINE_PORT."
            )
        facts = {"base_model": base.id, "base_model_revision": base.revision, "port": port}
        for folder in (self._facts.parent, self._log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._facts.write_text(json.dumps(facts))
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".previous.log"))
        starter = [sys.executable, "-m", "services.serving.engine_start", str(self._home)]
        with self._log.open("wb") as log_file:
            self._child = subprocess.Popen(
                [*starter, *self._command(base, port)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._record = self._processes.record(NAME, self._child.pid)
        except psutil.NoSuchProcess:
            raise EngineFailed(f"The engine ended at once. {self._last_words()}") from None
        log.info("started the engine with pid %d on port %d", self._child.pid, port)
        return port

    async def _watch(self) -> str:
        """Return when the engine must be started again, with the reason."""
        client, failures, probe_failures = self.client(), 0, 0
        next_probe = time.monotonic() + PROBE_S
        while True:
            if not self._is_alive():
                return f"The engine's process ended. {self._last_words()}"
            failures = 0 if await client.is_healthy() else failures + 1
            if failures >= HEALTH_FAILURES_MAX:
                return f"The engine failed {failures} health checks in a row."
            if time.monotonic() > next_probe:
                probe_failures = 0 if await client.probe() else probe_failures + 1
                if probe_failures >= PROBE_FAILURES_MAX:
                    return f"The engine made no token in {probe_failures} probes in a row."
                next_probe = time.monotonic() + PROBE_S
            self._look.clear()  # Not earlier: our own failed look must not cause the next.
            try:
                await asyncio.wait_for(self._look.wait(), START_POLL_S if failures else HEALTH_S)
            except TimeoutError:
                continue

    def _is_alive(self) -> bool:
        if self._child is not None and self._child.poll() is not None:
            return False
        return self._record is not None and self._record.is_alive()

    async def _end(self) -> None:
        """End whatever engine is on record, with its whole group."""
        self._client = None
        record = self._record or self._processes.find(NAME)
        if record is not None:
            await asyncio.to_thread(self._end_group, record)
        if self._child is not None:
            self._child.poll()  # Reaps it; nobody else does.
        self._record, self._child = None, None

    def _end_group(self, record: ProcessRecord) -> None:
        self._processes.end(record, END_GRACE_S)
        deadline = time.monotonic() + END_GRACE_S
        while group_members(record) and time.monotonic() < deadline:
            time.sleep(START_POLL_S)  # A killed process holds port and memory a moment longer.

    async def _enter(self, state: EngineState, reason: str) -> None:
        log.info("engine is %s: %s", state, reason)
        async with self._changed:
            self.state, self.reason = state, reason
            self._changed.notify_all()

    def _last_words(self) -> str:
        """Return the last line of the engine's log that names an error, and where the log is."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()[-200:]
        except OSError:
            lines = []
        errors = [line for line in lines if "Error" in line and "raise " not in line]
        said = (errors or lines or [""])[-1].strip()[-300:]
        return f"Its last words: {said!r}. The whole log: {self._log}."


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
