"""The side that asks: starts an interpreter behind walls, keeps it warm, bounds what it takes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import weakref
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.trainer.sandbox.frames import Late, PipeClosed, read_frame, write_frame

START_TIMEOUT_S = 30.0
"""Longest time until the walls stand and the grader's imports are made."""
GRACE_S = 5.0
"""Beyond the time of one sample, before the interpreter itself is taken for stuck."""
ROOT = Path(__file__).parents[3]
START = (
    "import sys; sys.path.append({root!r}); "
    "from services.trainer.sandbox.interpreter import main; main()"
)


class SandboxMissing(Exception):
    """This machine cannot build a wall, or one did not hold."""


class SourceBroken(Exception):
    """The source is no Python."""


class BoxEnded(Exception):
    """The interpreter ended or hangs; the next sample gets a new one."""


@dataclass(frozen=True)
class Limits:
    """What one sample may take."""

    time_s: float = 10.0
    """Of the clock."""
    memory_bytes: int = 512 * 1024 * 1024
    """Beyond the interpreter's own."""
    file_bytes: int = 1024 * 1024
    """Of one file."""
    scratch_bytes: int = 16 * 1024 * 1024
    """Of all files."""


class Box:
    """One source behind walls. Safe for threads; they take turns."""

    def __init__(self, source: str, limits: Limits | None = None) -> None:
        """Keep what to run; nothing starts before the first sample.

        Args:
            source: Python that defines `grade(sample, item)`.
            limits: Of one sample.
        """
        self._source = source
        self._limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def grade(self, sample: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
        """Return what became of one sample: `score` in [0, 1], or `error`, or `late`.

        Raises:
            SandboxMissing: If this machine cannot build the walls.
            SourceBroken: If the source is no Python.
            BoxEnded: If the interpreter ended.
            ValueError: If the sample is too long.
        """
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                write_frame(process.stdin.fileno(), {"sample": sample, "item": item})
                timeout_s = self._limits.time_s + GRACE_S
                reply: dict[str, Any] = read_frame(process.stdout.fileno(), timeout_s)
            except (PipeClosed, Late):
                self._end()
                raise BoxEnded("The sandbox ended unexpectedly. Grade the sample again.") from None
            return reply

    def close(self) -> None:
        """End the interpreter; the next sample would start it again."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = self._start()
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", START.format(root=str(ROOT))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        weakref.finalize(self, end_group, process)
        assert process.stdin is not None
        assert process.stdout is not None
        settings = {"source": self._source, **_places(), **asdict(self._limits)}
        try:
            write_frame(process.stdin.fileno(), settings)
            answer = read_frame(process.stdout.fileno(), START_TIMEOUT_S)
        except (PipeClosed, Late):
            end_group(process)
            raise SandboxMissing("The interpreter behind the walls does not start.") from None
        if answer.get("ready"):
            return process
        end_group(process)
        if "broken" in answer:
            raise SourceBroken(str(answer["broken"]))
        raise SandboxMissing(str(answer.get("missing", "It does not say what is missing.")))

    def _end(self) -> None:
        if self._process is not None:
            end_group(self._process)
            self._process = None


def _places() -> dict[str, list[str]]:
    """Return where the interpreter finds its libraries, and what must be readable for that."""
    paths = sysconfig.get_paths()
    libraries = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"]]
    dynamic = os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload")
    real = [os.path.join(sys.base_prefix, "lib", os.path.basename(paths["stdlib"]), "lib-dynload")]
    readable = [*libraries, os.path.join(sys.base_prefix, "lib")]
    return {
        "path": list(dict.fromkeys([*libraries, dynamic, *real])),
        "readable": list(dict.fromkeys(os.path.realpath(each) for each in readable)),
    }


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End the interpreter and all that it made: they are one group."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
