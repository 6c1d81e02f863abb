"""The folder of one attempt at a run: what the run writes, and what others read of it.

Lists are files of JSON lines that only grow; each line is one write, so a reader sees whole lines
or, at the end of a killed run, an unfinished one that it leaves alone. Results are single files
that appear whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.common.artefacts import sync
from services.trainer.run import Manifest, Phase, Progress, Question

MANIFEST = "run.json"
PHASES = "phases.jsonl"
PROGRESS = "progress.jsonl"
METRICS = "metrics.jsonl"
MESSAGES = "messages.jsonl"
SAMPLES = "samples.jsonl"
ERROR = "error.json"
QUESTION = "question.json"
OUTCOME = "outcome.json"
RESOLVED = "resolved.json"
TRACKING = "mlflow.json"
LOG = "run.log"
PAGE_MARKDOWN, PAGE_HTML = "report.md", "report.html"
"""The page about the evaluation, in both forms."""
READ_BYTES_MAX = 4 * 1024 * 1024
"""Largest piece of a file that one reading takes in."""
TAIL_BYTES = 4096
"""Where the last line of a file is looked for."""


@dataclass(frozen=True)
class PhaseTiming:
    """When a phase began and ended."""

    phase: Phase
    start_time: datetime
    end_time: datetime | None
    """None while it goes on."""


class Attempt:
    """One attempt's folder. The run's process writes; everyone else reads.

    The supervisor writes the manifest, the outcome and the tracking file.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the folder; `create` makes a new one."""
        self.folder = folder
        self._handles: dict[str, int] = {}

    @classmethod
    def create(cls, folder: Path, manifest: Manifest) -> Attempt:
        """Make the folder and write the manifest."""
        folder.mkdir(parents=True, exist_ok=True)
        attempt = cls(folder)
        attempt._write(MANIFEST, manifest.to_json())
        return attempt

    @property
    def fence(self) -> int:
        """Number of the attempt."""
        return int(self.folder.name.rsplit("-", 1)[1])

    @property
    def checkpoints(self) -> Path:
        """Folder of this attempt's checkpoints."""
        return self.folder / "checkpoints"

    def begin_phase(self, phase: Phase) -> None:
        """Write that a phase begins now."""
        self.append(PHASES, {"phase": int(phase), "event": "begin"})

    def end_phase(self, phase: Phase) -> None:
        """Write that a phase has ended now."""
        self.append(PHASES, {"phase": int(phase), "event": "end"})

    def report(self, progress: Progress) -> None:
        """Write how far the run is."""
        values = {
            "phase": int(progress.phase),
            "done": progress.done,
            "total": progress.total,
            "loss": progress.loss,
            "remaining_s": progress.remaining_s,
            "peak_bytes": progress.peak_bytes,
        }
        self.append(PROGRESS, values)

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers of one optimizer step."""
        self.append(METRICS, {"step": step, "values": dict(values)})

    def say(self, text: str) -> None:
        """Write a sentence for people."""
        self.append(MESSAGES, {"text": text})

    def append(self, name: str, values: Mapping[str, Any]) -> None:
        """Add one line with the present time to a list."""
        handle = self._handles.get(name)
        if handle is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            handle = self._handles[name] = os.open(self.folder / name, flags, 0o644)
        line = json.dumps({"time": datetime.now(UTC).isoformat(), **values}) + "\n"
        os.write(handle, line.encode())

    def write_result(self, phase: Phase, result: Mapping[str, Any]) -> None:
        """Write what a phase found; it is there whole or not at all."""
        self._write(f"{phase.key}.json", json.dumps(result, indent=1))

    def write_resolved(self, values: Mapping[str, Any]) -> None:
        """Write what the settings of training have become, in the words of ResolvedTraining."""
        self._write(RESOLVED, json.dumps(values))

    def write_text(self, name: str, text: str) -> None:
        """Write a file for people; it is there whole or not at all."""
        self._write(name, text)

    def write_error(self, reason: str, message: str, **facts: int) -> None:
        """Write why the run cannot go on, and what belongs to the reason."""
        self._write(ERROR, json.dumps({"reason": reason, "message": message, **facts}))

    def write_question(self, question: Question) -> None:
        """Write what a person must decide before the run goes on, and say it."""
        self._write(QUESTION, json.dumps(asdict(question)))
        self.say(question.message)

    def write_outcome(self, outcome: str) -> None:
        """Write how the attempt ended, as FinishRunRequest.Outcome names it."""
        self._write(OUTCOME, json.dumps({"outcome": outcome}))

    def write_tracking(self, run: str, uri: str, *, closed: bool) -> None:
        """Write which MLflow run mirrors the attempt, its page, and whether it has all of it."""
        self._write(TRACKING, json.dumps({"run": run, "uri": uri, "closed": closed}))

    def manifest(self) -> Manifest | None:
        """Return the manifest, or None when the attempt has not begun."""
        try:
            return Manifest.from_json((self.folder / MANIFEST).read_text())
        except (OSError, ValueError):
            return None

    def result(self, phase: Phase) -> dict[str, Any] | None:
        """Return what a phase found, or None when it has not ended."""
        return self._read(f"{phase.key}.json")

    def resolved(self) -> dict[str, Any] | None:
        """Return what the settings of training have become, or None before it begins."""
        return self._read(RESOLVED)

    def error(self) -> dict[str, Any] | None:
        """Return `reason`, `message` and what belongs to them of what stopped it, or None."""
        return self._read(ERROR)

    def question(self) -> Question | None:
        """Return what a person must decide before the run goes on, or None."""
        values = self._read(QUESTION)
        return None if values is None else Question(**values)

    def outcome(self) -> str | None:
        """Return how the attempt ended, or None while it goes on."""
        values = self._read(OUTCOME)
        return None if values is None else str(values["outcome"])

    def tracking(self) -> dict[str, Any] | None:
        """Return `run`, `uri` and `closed` of MLflow's copy, or None when there is none."""
        return self._read(TRACKING)

    def phases(self) -> list[PhaseTiming]:
        """Return the phases that have begun, in order."""
        found: dict[Phase, PhaseTiming] = {}
        for line in self.lines(PHASES, 0)[0]:
            phase, time = Phase(line["phase"]), datetime.fromisoformat(line["time"])
            if line["event"] == "begin":
                found[phase] = PhaseTiming(phase, time, None)
            elif phase in found:
                found[phase] = PhaseTiming(phase, found[phase].start_time, time)
        return list(found.values())

    def progress(self, now: datetime) -> Progress | None:
        """Return how far the run is, with the estimate counted down to `now`, or None."""
        line = self._last(PROGRESS)
        if line is None:
            return None
        remaining_s = line["remaining_s"]
        if remaining_s is not None:
            age_s = (now - datetime.fromisoformat(line["time"])).total_seconds()
            remaining_s = max(0.0, remaining_s - age_s)
        phase = Phase(line["phase"])
        return Progress(
            phase,
            line["done"],
            line["total"],
            line["loss"],
            remaining_s,
            line.get("peak_bytes", 0),
        )

    def lines(self, name: str, offset: int) -> tuple[Sequence[dict[str, Any]], int]:
        """Return the whole lines of a list from a byte offset on, and the offset after them."""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(offset)
                piece = file.read(READ_BYTES_MAX)
        except FileNotFoundError:
            return [], offset
        whole = piece[: piece.rfind(b"\n") + 1]
        return list(_parsed(whole)), offset + len(whole)

    def _last(self, name: str) -> dict[str, Any] | None:
        try:
            size = (self.folder / name).stat().st_size
        except FileNotFoundError:
            return None
        start = max(0, size - TAIL_BYTES)
        lines, _ = self.lines(name, start)
        return lines[-1] if lines else None

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            values = json.loads((self.folder / name).read_text())
        except (OSError, ValueError):
            return None
        return values if isinstance(values, dict) else None

    def _write(self, name: str, text: str) -> None:
        temporary = self.folder / f".{name}.tmp"
        temporary.write_text(text)
        sync(temporary)
        temporary.rename(self.folder / name)
        sync(self.folder)


def list_attempts(run_folder: Path, fence_max: int | None = None) -> list[Attempt]:
    """Return the attempts of a run that have begun, newest first.

    Args:
        run_folder: Folder of all attempts.
        fence_max: Leave out newer ones; none when left out.
    """
    attempts = [Attempt(path) for path in run_folder.glob("attempt-*") if path.is_dir()]
    begun = [attempt for attempt in attempts if (attempt.folder / MANIFEST).exists()]
    fits = [one for one in begun if fence_max is None or one.fence <= fence_max]
    return sorted(fits, key=lambda attempt: attempt.fence, reverse=True)


def find_page(run_folder: Path, fence_max: int | None = None) -> Attempt | None:
    """Return the newest attempt that has written the page about the evaluation, or None."""
    for attempt in list_attempts(run_folder, fence_max):
        if all((attempt.folder / name).is_file() for name in (PAGE_MARKDOWN, PAGE_HTML)):
            return attempt
    return None


def _parsed(whole: bytes) -> Iterator[dict[str, Any]]:
    for line in whole.splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue  # The first line of a tail may begin in its middle.
        if isinstance(values, dict):
            yield values
