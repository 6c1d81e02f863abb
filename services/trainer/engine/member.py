"""One process of a run on some machine of a cluster, and who stands by it there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from services.trainer.attempt import LOG
from services.trainer.memory import oom_kill_count

STOP_GRACE_S = 5.0
"""Time that the process has to see that its pipe is closed, before it is killed."""
SILENCE_MAX_S = 30.0
"""Longest that nobody asks before the process is ended; as long as a lease lasts."""
LOOK_S = 1.0
PROCESS = "services.trainer.engine.process"


@dataclass(frozen=True)
class Seen:
    """How the process is at one moment."""

    code: int | None
    """Exit code; None while it runs."""
    message_count: int
    """What it has said so far."""
    oom_killed: bool
    """Whether it was killed for lack of memory."""


class Member:
    """Starts the process once, hands on what it is told, and ends it when nobody asks any more.

    The process reads a pipe from here: should this process be killed, that one ends by itself.
    """

    def __init__(self) -> None:
        """Begin to listen for questions."""
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._message_count = 0
        self._kill_count = oom_kill_count()
        self._heard_s = time.monotonic()
        threading.Thread(target=self._expect_questions, daemon=True).start()

    def start(self, folder: str, own_folder: str, environment: Mapping[str, str]) -> None:
        """Start the process of an attempt; when called again, leave alone the one there is.

        Args:
            folder: Of the attempt.
            own_folder: Where this process writes; that or a folder within.
            environment: What it has besides ours.
        """
        self._heard_s = time.monotonic()
        if self._process is not None:
            return
        Path(own_folder).mkdir(parents=True, exist_ok=True)
        self._pipe, theirs = Pipe(duplex=True)
        with (Path(own_folder) / LOG).open("ab") as log, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROCESS, folder, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        threading.Thread(target=self._read, args=(self._pipe,), daemon=True).start()

    def poll(self) -> Seen:
        """Return how the process is. To be asked more often than every SILENCE_MAX_S."""
        self._heard_s = time.monotonic()
        code = None if self._process is None else self._process.poll()
        killed = code == -signal.SIGKILL and oom_kill_count() > self._kill_count
        return Seen(code, self._message_count, killed)

    def tell(self, message: bytes) -> None:
        """Hand on `cancel` or `pause`."""
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                self._pipe.send_bytes(message)

    def stop(self) -> None:
        """End the process: close its pipe and, if it does not see that, kill its group."""
        if self._process is None or self._pipe is None:
            return
        # Closing would not reach the other end while our reader waits for it.
        with (
            contextlib.suppress(OSError),
            socket.socket(fileno=os.dup(self._pipe.fileno())) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def on_silence(self) -> None:
        """Do what is left to do once nobody asks and the process has ended."""

    def _read(self, pipe: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                pipe.recv_bytes()
                self._message_count += 1

    def _expect_questions(self) -> None:
        while time.monotonic() - self._heard_s < SILENCE_MAX_S:
            time.sleep(LOOK_S)  # Silence is no event.
        self.stop()
        self.on_silence()
