"""How a run hears that it is to stop, and that it then stops in time whatever it is at."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from services.trainer.run import ExitCode

CANCEL = b"cancel"
PAUSE = b"pause"
TERMINATE = b"terminate"
CANCEL_MAX_S = 8.0
"""Time to end after a cancellation; with the way there and back it stays under ten seconds."""
PAUSE_MAX_S = 8.0
"""The same after a pause. A phase that has not come to a checkpoint by then is left as it is: what
it has done since the last one is done again, and the result is the same."""
STEP_MAX_S = 120.0
"""A step that is known to take longer than a pause is waited for so long at the most: a large model
that is often paused would otherwise do the same steps again and again."""
LEAVE_S = 5.0
"""Time to end once the checkpoint is written."""
TERMINATE_MAX_S = 12.0
"""The same after SIGTERM, of the 30 s that machines and containers give at least; the rest is for
the supervisor to hand the run back."""
SAVING_MAX_S = 60.0
"""Time that a checkpoint which is being written has besides; large ones need more than a pause."""


@dataclass
class Signals:
    """What has been asked of the run."""

    cancel: threading.Event = field(default_factory=threading.Event)
    """Stop within a step, for good."""
    pause: threading.Event = field(default_factory=threading.Event)
    """Halt where another attempt can continue."""
    terminate: threading.Event = field(default_factory=threading.Event)
    """The machine or the service ends: halt likewise, and be taken up again unasked."""
    saving: threading.Event = field(default_factory=threading.Event)
    """Set by the run while it writes the checkpoint of its halt."""
    saved: threading.Event = field(default_factory=threading.Event)
    """Set by the run when that is written."""
    step_s: float = 0.0
    """Time that a step takes, with the evaluation after it; 0 outside of training."""

    @property
    def is_pausing(self) -> bool:
        """Whether the run is to halt at its next checkpoint."""
        return self.pause.is_set() or self.terminate.is_set()

    @property
    def halt_code(self) -> ExitCode:
        """How a run ends that halts now."""
        asked = self.pause.is_set() or not self.terminate.is_set()
        return ExitCode.PAUSED if asked else ExitCode.TERMINATED


def listen(connection: Connection, signals: Signals) -> None:
    """Set the signals as the supervisor asks, for ever; leave when it is gone.

    Args:
        connection: To the supervisor; closed when that ends.
        signals: Of the run.
    """
    acts = {
        CANCEL: lambda: cancel(signals),
        PAUSE: lambda: pause(signals),
        TERMINATE: lambda: terminate(signals),
    }
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            os._exit(ExitCode.ORPHANED)
        if message in acts:
            acts[message]()


def obey_sigterm(signals: Signals) -> None:
    """Take SIGTERM for the end of the machine; call it in the main thread."""
    signal.signal(signal.SIGTERM, lambda *_: terminate(signals))


def cancel(signals: Signals) -> None:
    """Ask for the end; a phase that does not look up is ended under its hands."""
    if not signals.cancel.is_set():
        signals.cancel.set()
        _later(CANCEL_MAX_S, lambda: os._exit(ExitCode.CANCELLED))


def pause(signals: Signals) -> None:
    """Ask for a halt."""
    if not signals.pause.is_set():
        signals.pause.set()
        _later(PAUSE_MAX_S, lambda: _halt(signals, patience_s(signals.step_s) - PAUSE_MAX_S))


def terminate(signals: Signals) -> None:
    """Ask for a halt because the machine ends."""
    if not signals.terminate.is_set():
        signals.terminate.set()
        _later(TERMINATE_MAX_S, lambda: _halt(signals, 0.0))


def patience_s(step_s: float) -> float:
    """Return how long a pause waits for a checkpoint to be begun, in seconds.

    Args:
        step_s: Time that a step takes; 0 outside of training.
    """
    return max(PAUSE_MAX_S, min(STEP_MAX_S, step_s))


def _halt(signals: Signals, more_s: float) -> None:
    saved = signals.saved.wait(more_s)
    if saved or (signals.saving.is_set() and signals.saved.wait(SAVING_MAX_S)):
        time.sleep(LEAVE_S)  # It ends of itself, and says so.
    os._exit(signals.halt_code)


def _later(seconds: float, act: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
