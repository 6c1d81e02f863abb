"""A run: its manifest, its phases, how it ends and how long it will take; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

OUT_OF_MEMORY = "OUT_OF_MEMORY"
"""Reason of a run whose memory was not enough."""


class Phase(IntEnum):
    """What a run does, in order; the numbers are those of attune.scheduler.v1.Phase."""

    VALIDATE = 1
    BASELINE = 2
    TRAIN = 3
    EVALUATE = 4
    REGISTER = 5

    @property
    def key(self) -> str:
        """Lower-case name, which also names the file of the phase's result."""
        return self.name.lower()


class ExitCode(IntEnum):
    """How the process of a run ends; anything else, and any signal, is a crash."""

    SUCCEEDED = 0
    CRASHED = 1
    """An unexpected error; another attempt may succeed."""
    FAILED = 3
    """Another attempt would fail alike: the spec, its data or its numbers are at fault."""
    CANCELLED = 4
    """It was asked to stop."""
    ORPHANED = 5
    """Its supervisor is gone; nobody reads this code."""
    PAUSED = 6
    """It was asked to halt and has written a checkpoint, or has none to write in its phase."""


class RunFailed(Exception):
    """The run cannot succeed as it is, however often it is tried."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the reason, UPPER_SNAKE, and the sentence for people."""
        super().__init__(message)
        self.reason = reason
        self.message = message


class RunCancelled(Exception):
    """The run was asked to stop."""


@dataclass(frozen=True)
class Question:
    """What a run found, and a person must decide on before it goes on."""

    reason: str
    """UPPER_SNAKE; once it is waived, the run does not ask it again."""
    message: str
    """What was found and what is advised, in sentences."""
    figures: Mapping[str, float]
    """The numbers behind it by lower-case name; finite, at most 16."""


class RunPaused(Exception):
    """The run halts where another attempt can continue: it was asked to, or asks itself."""

    def __init__(self, question: Question | None = None) -> None:
        """Keep what a person must decide first; None when the run was asked to halt."""
        super().__init__("" if question is None else question.message)
        self.question = question


@dataclass(frozen=True)
class Manifest:
    """All that the process of a run is told."""

    run: str
    """Format: `projects/{project}/runs/{run}`."""
    job: str
    """Format: `projects/{project}/jobs/{job}`."""
    stage_index: int
    """Position of the stage in the spec, from 0."""
    fence: int
    """Of the lease; also the number of the attempt."""
    node: str
    """Id of the machine that executes this attempt."""
    spec_hash: str
    """64 lower-case hex digits."""
    spec: Mapping[str, Any]
    """The approved spec as proto JSON."""
    placement: Mapping[str, Any]
    """Where and how to run it, as proto JSON of StageCompute."""
    artefacts: str
    """The artefact root."""
    home: str
    """Folder that holds the records of processes."""
    cpus: tuple[int, ...]
    """Cores that the run is bound to."""
    threads: int
    """OpenMP threads."""
    accelerator: str
    """`cpu` or `cuda`."""
    base_adapter_sha256: str = ""
    """Adapter of the stage before, which is trained on; empty in the first stage."""
    waived_reasons: tuple[str, ...] = ()
    """Reasons of questions that a person has answered with going on."""

    @property
    def run_id(self) -> str:
        """Last part of the run's name."""
        return self.run.rsplit("/", 1)[1]

    def to_json(self) -> str:
        """Return the text of the manifest's file."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Return the manifest in a file's text.

        Raises:
            ValueError: If it is not one.
        """
        try:
            values = json.loads(text)
            values = {**values, "cpus": tuple(values["cpus"])}
            return cls(**{**values, "waived_reasons": tuple(values.get("waived_reasons", ()))})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a manifest: {error}") from None


@dataclass(frozen=True)
class Progress:
    """How far a run is, at one moment."""

    phase: Phase
    done: int
    """Optimizer steps in TRAIN, rows elsewhere."""
    total: int
    """Of the same units; 0 when unknown."""
    loss: float | None
    """Newest training loss in nats per token; None outside TRAIN."""
    remaining_s: float | None
    """Estimated time until the run ends, in seconds."""
    peak_bytes: int = 0
    """Highest use of memory in the phase so far; 0 when it was not seen."""


@dataclass(frozen=True)
class MemoryFacts:
    """What is known of a run that ran out of memory, beside its phase."""

    done: int = 0
    """Units of the phase that were done when it failed; 0 when it was killed."""
    peak_bytes: int = 0
    """Highest use of memory that it saw when it failed; 0 when it was killed."""
    max_token_count: int = 0
    """Tokens of the longest row that it trained; 0 when unknown."""
    checkpoint_step: int = 0
    """Optimizer steps of its newest complete checkpoint; 0 without one."""


class Estimate:
    """Foretells how long a run still takes, from what it has measured so far."""

    def __init__(self, train_s: float) -> None:
        """Begin with the scheduler's estimate of TRAIN in seconds; 0 when there is none."""
        self._expected_s = {Phase.TRAIN: train_s}

    def expect(self, phase: Phase, seconds: float) -> None:
        """Note what a phase that has not begun is likely to take, in seconds."""
        self._expected_s[phase] = seconds

    def remaining_s(self, phase: Phase, fresh: int, left: int, elapsed_s: float) -> float:
        """Return the time until the run ends, in seconds.

        Args:
            phase: The present one.
            fresh: Units of it that were done since it began here; those of an earlier attempt
                say nothing about the pace.
            left: Units still to do.
            elapsed_s: Time since it began here, in seconds.
        """
        if fresh > 0:
            rest = elapsed_s / fresh * left
        else:
            rest = max(0.0, self._expected_s.get(phase, 0.0) - elapsed_s)
        later = [seconds for other, seconds in self._expected_s.items() if other > phase]
        return rest + sum(later)
