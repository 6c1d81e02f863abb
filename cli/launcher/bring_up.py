"""Brings everything up and returns when it answers, or ends again what it started."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from cli.endpoints import Endpoints
from cli.home import Home
from cli.launcher.base_model import ensure_base_model
from cli.launcher.checks import broken_preconditions, head_line
from cli.launcher.health import healthy
from cli.launcher.launch import STARTER, Launch, RunEngine, base_model_of
from cli.launcher.process_plan import NAMES
from cli.launcher.supervision import State, Supervised, read_supervision
from cli.launcher.teardown import SUPERVISOR, end_all, living
from cli.log_files import last_words, open_log, read_tail
from cli.ports import LOOPBACK, Ports
from cli.views.screen import Screen
from services.common.errors import FailedPrecondition, Unavailable
from services.common.processes import ProcessFolder, ProcessRecord

HEALTH_TIMEOUT_S = 180.0
"""Longest time that a process may take to answer once it was started."""
SUPERVISOR_TIMEOUT_S = 20.0
POLL_S = 0.1
PROGRESS_S = 5.0
"""How often progress is told where it cannot be shown in place."""


@dataclass(frozen=True)
class Running:
    """What runs now."""

    endpoints: Endpoints
    launch: Launch
    anew: bool
    """Whether nothing ran before."""


def bring_up(
    home: Home,
    base_model: str,
    port_base: int | None,
    screen: Screen,
    *,
    engine: str | None = None,
    ray_address: str | None = None,
) -> Running:
    """Start what does not run yet, and return when everything answers.

    When this fails or is interrupted and nothing ran before, everything is ended again.

    Args:
        home: Of the installation.
        base_model: Id or path; empty takes what runs already, or else the starter.
        port_base: As in `Ports.read`.
        screen: Told how it goes.
        engine: Where training is to run; None takes what runs already, or else the environment's.
        ray_address: Of the cluster, likewise.

    Raises:
        FailedPrecondition: If a precondition does not hold, or what runs is something else.
        Unavailable: If a process cannot be started, with its reason.
    """
    anew = not living(home)
    launch = None if anew else _running_launch(home, base_model)
    if launch is None:
        wanted = RunEngine.read(os.environ, engine, ray_address)
        launch = _new_launch(home, base_model, port_base, wanted)
        screen.say(f"Starting Attune in {home.root}")
    else:
        _check_engine(launch, engine, ray_address)
        if line := head_line(launch.engine.ray_address):
            raise FailedPrecondition(line, reason="PRECONDITION")
        screen.say(f"Attune runs already in {home.root}")
    with _ending_on_failure(home, anew):
        launch.write(home)
        endpoints = Endpoints.of(launch.host, launch.ports)
        endpoints.write(home)
        wait = _Wait(home, launch, endpoints, screen)
        home.supervision.unlink(missing_ok=True)  # What it says may be out of date.
        if not _look_again(home):
            _start_supervisor(home)
        with screen.busy("starting"):
            launch = asyncio.run(wait.until_all_answer())
    return Running(endpoints, launch, anew)


@contextmanager
def _ending_on_failure(home: Home, anew: bool) -> Iterator[None]:
    """End everything in the home when the block fails or is interrupted, if all of it is new."""
    try:
        yield
    except BaseException:
        _end_if(home, anew)
        raise


@contextmanager
def ending_when_interrupted(home: Home, anew: bool) -> Iterator[None]:
    """End everything in the home when the block is interrupted, if all of it is new.

    After an error it stays up: what went wrong is easier to see in what still runs.
    """
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError):
        _end_if(home, anew)
        raise


def _end_if(home: Home, anew: bool) -> None:
    if not anew:
        return
    # A second Ctrl-C must not leave the ending half done.
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_all(home)
    signal.signal(signal.SIGINT, former)


def _running_launch(home: Home, base_model: str) -> Launch | None:
    kept = Launch.find(home)
    if kept is None or not base_model:
        return kept
    if base_model_of(base_model) in ((kept.base_model, ""), (kept.base_model, kept.source)):
        return kept
    raise FailedPrecondition(
        f"Attune runs with {kept.base_model}, not with {base_model}. "
        "Run `attune down` first, or leave --model out.",
        reason="OTHER_BASE_MODEL",
        running=kept.base_model,
        wanted=base_model,
    )


def _check_engine(launch: Launch, engine: str | None, ray_address: str | None) -> None:
    kept = launch.engine
    wanted = RunEngine(engine or kept.name, ray_address or kept.ray_address)
    if wanted != kept:
        raise FailedPrecondition(
            f"Attune trains on the engine {kept.name} {kept.ray_address}".rstrip()
            + ". Run `attune down` first, or leave --engine and --ray-address out.",
            reason="OTHER_ENGINE",
            running=kept.name,
            wanted=wanted.name,
        )


def _new_launch(home: Home, base_model: str, port_base: int | None, engine: RunEngine) -> Launch:
    host = os.environ.get("ATTUNE_HOST", LOOPBACK)
    ports = Ports.read(os.environ, port_base).resolved()
    broken = broken_preconditions(home.root, host, ports, os.environ, engine)
    if broken:
        raise FailedPrecondition("\n".join(broken), reason="PRECONDITION")
    model, source = base_model_of(base_model or STARTER)
    return Launch(host, ports, model, source, engine=engine)


def _look_again(home: Home) -> bool:
    """Have the supervisor look at the plan again; return whether there is one."""
    supervisor = _live_supervisor(home)
    if supervisor is None:
        return False
    os.kill(supervisor.pid, signal.SIGHUP)
    return True


def _live_supervisor(home: Home) -> ProcessRecord | None:
    record = ProcessFolder(home.root).find(SUPERVISOR)
    return record if record is not None and record.is_alive() else None


def _start_supervisor(home: Home) -> None:
    with open_log(home.log(SUPERVISOR)) as output:
        subprocess.Popen(
            [sys.executable, "-m", "cli.launcher.supervisor", str(os.getpid())],
            env={**os.environ, "ATTUNE_HOME": str(home.root)},
            cwd=home.root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


class _Wait:
    """Watches processes become healthy and says so."""

    def __init__(self, home: Home, launch: Launch, endpoints: Endpoints, screen: Screen) -> None:
        self._home = home
        self._launch = launch
        self._addresses = asdict(endpoints)
        self._screen = screen
        self._began = time.monotonic()
        log = home.log(SUPERVISOR)
        self._log_offset = log.stat().st_size if log.exists() else 0
        # A supervisor that goes on has counted before; a new one begins at none.
        known = read_supervision(home) if _live_supervisor(home) else {}
        self._deaths = {name: one.restart_count for name, one in known.items()}
        self._first_seen: dict[str, float] = {}
        self._missing = list(NAMES)
        self._told = 0.0

    async def until_all_answer(self) -> Launch:
        """Return the launch with the base model at hand when everything answers."""
        async with asyncio.TaskGroup() as tasks:
            model = tasks.create_task(self._base_model())
            while self._missing:
                await self._look()
                await asyncio.sleep(POLL_S)
            return await model

    async def _base_model(self) -> Launch:
        if self._launch.at_hand:
            return self._launch
        await ensure_base_model(self._home, self._launch, self._tell_progress)
        launch = replace(self._launch, at_hand=True)
        launch.write(self._home)
        self._say("base model", launch.base_model, "at hand")
        _look_again(self._home)  # The plan has grown.
        return launch

    async def _look(self) -> None:
        known = read_supervision(self._home)
        self._check_supervisor()
        for name in self._missing:
            self._check(name, known.get(name))
        answers = await healthy({name: self._addresses[name] for name in self._missing})
        for name, well in answers.items():
            # Somebody else's process may answer at that address: ours must run too.
            if well and name in known and known[name].state is State.RUNNING:
                self._missing.remove(name)
                self._say(name, self._addresses[name], "ready")

    def _check_supervisor(self) -> None:
        if _live_supervisor(self._home):
            return
        record = ProcessFolder(self._home.root).find(SUPERVISOR)
        waited_s = time.monotonic() - self._began
        reason, _ = last_words(read_tail(self._home.log(SUPERVISOR), self._log_offset))
        if waited_s > SUPERVISOR_TIMEOUT_S or (reason and record is not None):
            text = f"The supervisor ended: {reason} (log: {self._home.log(SUPERVISOR)})"
            raise Unavailable(text, reason="SUPERVISOR_ENDED")

    def _check(self, name: str, process: Supervised | None) -> None:
        if process is None:
            return
        died = process.restart_count > self._deaths.get(name, 0)
        if (died and process.on_purpose) or process.state is State.GIVEN_UP:
            text = f"{name}: {process.reason or 'it ended without a word'}"
            if not process.on_purpose:
                text += f" (log: {self._home.log(name)})"
            raise Unavailable(text, reason="PROCESS_ENDED", process=name)
        since = self._first_seen.setdefault(name, time.monotonic())
        if time.monotonic() - since > HEALTH_TIMEOUT_S:
            raise Unavailable(
                f"{name} does not answer at {self._addresses[name]} after {HEALTH_TIMEOUT_S:.0f} s."
                f" Its log says why: {self._home.log(name)}",
                reason="PROCESS_SILENT",
                process=name,
            )

    def _say(self, name: str, what: str, how: str) -> None:
        took_s = time.monotonic() - self._began
        self._screen.say(f"  {name:<10}  {what:<28}  {how} after {took_s:.1f} s")

    def _tell_progress(self, done: int, total: int, loss: float | None) -> None:
        if time.monotonic() - self._told < PROGRESS_S:
            return
        self._told = time.monotonic()
        share = f"{done:,} of {total:,}" if total else f"{done:,}"
        detail = f", loss {loss:.2f}" if loss is not None else ""
        self._screen.say(f"  {'base model':<10}  {self._launch.base_model:<28}  {share}{detail}")
