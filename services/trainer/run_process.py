"""What a run executes in its own process; it can die at any line and be resumed.

Imports no gRPC, NATS, SQL or MLflow. It speaks through files of its attempt's folder and hears
through one pipe: `cancel`, `pause`, or its end, which means that its supervisor is gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from services.common.artefacts import read_manifest
from services.common.processes import ProcessFolder
from services.common.telemetry import configure_logging
from services.trainer.attempt import LOG, Attempt, list_attempts
from services.trainer.evaluation.baseline import baseline
from services.trainer.evaluation.tuned import evaluate
from services.trainer.follow import follow
from services.trainer.gang import Gang, take_gang
from services.trainer.phases.disk import is_disk_full
from services.trainer.phases.learnability import ask_whether_it_can_learn, probe
from services.trainer.phases.register import register
from services.trainer.phases.train import train
from services.trainer.phases.validate import validate
from services.trainer.recipes.processor import is_out_of_memory, use_threads
from services.trainer.run import (
    DISK_FULL,
    OUT_OF_MEMORY,
    ExitCode,
    Manifest,
    Phase,
    RunCancelled,
    RunFailed,
    RunPaused,
)
from services.trainer.runtime.asking import ask_whether_prompting_is_enough
from services.trainer.runtime.crash_points import CrashPoint, reach
from services.trainer.runtime.run_context import RunContext
from services.trainer.runtime.stopping import Signals, listen, obey_sigterm

log = logging.getLogger(__name__)

PHASE = b"phase"
"""What the run sends when a phase begins."""


WRITTEN = {phase: CrashPoint(f"{phase.key}.written") for phase in Phase}


def main(folder: Path, connection: Connection) -> None:
    """Execute the attempt whose manifest lies in the folder, and exit with an ExitCode.

    Args:
        folder: Of the attempt.
        connection: To the supervisor.
    """
    gang = take_gang(os.environ)
    manifest = Attempt(folder).manifest()
    if manifest is None:
        os._exit(ExitCode.CRASHED)
    attempt = Attempt(folder if gang is None else gang.folder(folder))
    attempt.folder.mkdir(exist_ok=True)
    signals = Signals()
    obey_sigterm(signals)
    threading.Thread(target=listen, args=(connection, signals), daemon=True).start()
    suffix = "" if gang is None or gang.leads else f"-rank-{gang.rank}"
    ProcessFolder(Path(manifest.home)).record_self(f"run-{manifest.run_id}{suffix}")
    _write_output_to(attempt.folder / LOG)
    configure_logging("run", "INFO")
    if manifest.cpus:
        os.sched_setaffinity(0, manifest.cpus)
    use_threads(manifest.threads)
    code = _execute(attempt, manifest, signals, lambda: connection.send_bytes(PHASE), gang)
    # Not a normal exit: what libraries do at the end of a process must not change the outcome.
    os._exit(code)


def _write_output_to(path: Path) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for standard in (1, 2):
        os.dup2(handle, standard)
    os.close(handle)


def _execute(
    attempt: Attempt,
    manifest: Manifest,
    signals: Signals,
    wake: Callable[[], None],
    gang: Gang | None,
) -> ExitCode:
    context: RunContext | None = None
    try:
        context = RunContext(attempt, manifest, signals, wake, gang)
        if gang is None or gang.leads:
            _run_phases(context)
        else:
            follow(context, gang)
    except RunFailed as error:
        attempt.write_error(error.reason, error.message)
        return ExitCode.FAILED
    except RunCancelled:
        return ExitCode.CANCELLED
    except RunPaused as pause:
        if pause.question is not None:
            attempt.write_question(pause.question)
            return ExitCode.PAUSED
        attempt.say("Halted as asked; another attempt continues from here.")
        return signals.halt_code
    except BaseException as error:
        reason = _crash_reason(error)
        if reason == OUT_OF_MEMORY:
            # What the failed step holds is let go: without memory nothing could be written.
            traceback.clear_frames(error.__traceback__)
        if reason == DISK_FULL:
            return _without_room(attempt, error)
        facts = {} if context is None else _memory_facts(context)
        attempt.write_error(reason, f"{type(error).__name__}: {error}"[:2000], **facts)
        log.exception("the run crashed")
        return ExitCode.CRASHED
    return ExitCode.SUCCEEDED


def _without_room(attempt: Attempt, error: BaseException) -> ExitCode:
    """Delete what is only half written, and use the room to say why; checkpoints stay."""
    attempt.discard_half_written()
    text = (
        f"The disk has no room left for what the run writes ({error}). Make room; it goes on from "
        "its last checkpoint."
    )
    with contextlib.suppress(OSError):
        attempt.write_error(DISK_FULL, text[:2000])
        log.error("the run has no room left: %s", error)
    return ExitCode.DISK_FULL


def _memory_facts(context: RunContext) -> dict[str, int]:
    return {
        "done": context.done,
        "peak_bytes": context.peak_bytes,
        "max_token_count": context.longest_count,
    }


def _crash_reason(error: BaseException) -> str:
    if is_disk_full(error):
        return DISK_FULL
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    return "CRASHED"


def _run_phases(context: RunContext) -> None:
    _phase(context, Phase.VALIDATE, lambda: validate(context))
    base = _phase(context, Phase.BASELINE, lambda: {**baseline(context), **probe(context)})
    ask_whether_prompting_is_enough(context, base)
    ask_whether_it_can_learn(context, base)
    context.estimate.expect(Phase.EVALUATE, base["pass_s"])
    training = _phase(context, Phase.TRAIN, lambda: train(context), _best_is_whole)
    chosen = context.artefacts.run(context.manifest.run_id) / training["best"]
    tuned = _phase(context, Phase.EVALUATE, lambda: evaluate(context, chosen, base))
    _phase(context, Phase.REGISTER, lambda: register(context, chosen, tuned))


def _phase(
    context: RunContext,
    phase: Phase,
    act: Callable[[], dict[str, Any]],
    holds: Callable[[RunContext, dict[str, Any]], bool] = lambda *_: True,
) -> dict[str, Any]:
    """Return the result of a phase: of an earlier attempt if that finished it, else a new one.

    Args:
        context: The run.
        phase: Which one.
        act: Executes it.
        holds: Whether an earlier result is still worth something.
    """
    context.check()
    context.begin(phase)
    result = _earlier(context, phase)
    if result is None or not holds(context, result):
        result = act()
    context.attempt.write_result(phase, result)
    reach(WRITTEN[phase])
    context.attempt.end_phase(phase)
    return result


def _earlier(context: RunContext, phase: Phase) -> dict[str, Any] | None:
    manifest = context.manifest
    folder = context.artefacts.run(manifest.run_id)
    for attempt in list_attempts(folder, manifest.fence - 1):
        before = attempt.manifest()
        if before is not None and before.spec_hash == manifest.spec_hash:
            result = attempt.result(phase)
            if result is not None:
                return result
    return None


def _best_is_whole(context: RunContext, training: dict[str, Any]) -> bool:
    folder = context.artefacts.run(context.manifest.run_id)
    return read_manifest(folder / training["best"]) is not None
