"""What a run asks a person, and how it may be answered; pure."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from attune.scheduler.v1.scheduler_pb2 import JobQuestion

from services.common.errors import FailedPrecondition, Violation, invalid
from services.scheduler.job import Job
from services.scheduler.state import FINAL, State

REASON = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
FIGURE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
MESSAGE_MAX = 2000
"""Characters of the sentences."""
FIGURES_MAX = 16
WAIVED_MAX = 16
"""Reasons that a job keeps as waived, the newest ones."""


class Decision(StrEnum):
    """What becomes of a job that rests."""

    CONTINUE = "CONTINUE"
    """It goes on where it paused."""
    STOP = "STOP"
    """It ends without a result."""


def question_violations(question: JobQuestion) -> list[Violation]:
    """Return what is wrong with a question."""
    found = []
    if not REASON.fullmatch(question.reason):
        text = f"'{question.reason[:80]}' is not {REASON.pattern}. Send a reason like TARGET_MET."
        found.append(Violation("question.reason", "FORMAT", text))
    if not 0 < len(question.message) <= MESSAGE_MAX:
        text = f"{len(question.message)} characters are not in [1, {MESSAGE_MAX}]. Say it in some."
        found.append(Violation("question.message", "LENGTH", text))
    if len(question.figures) > FIGURES_MAX:
        text = f"{len(question.figures)} figures are more than {FIGURES_MAX}. Send fewer."
        found.append(Violation("question.figures", "COUNT", text))
    for index, figure in enumerate(question.figures[:FIGURES_MAX]):
        if not FIGURE_NAME.fullmatch(figure.name) or not math.isfinite(figure.value):
            text = f"'{figure.name[:80]}' with {figure.value} needs a lower-case name and a number."
            found.append(Violation(f"question.figures.{index}", "FORMAT", text))
    return found


def answer(job: Job, decision: Decision | None, now: datetime) -> Job:
    """Return the job as it was decided: on its way back to the queue, or at its end.

    Args:
        job: Any job.
        decision: None when none was sent.
        now: The present moment.

    Returns:
        Itself when it is to go on and waits or runs anyhow.

    Raises:
        InvalidArgument: If its run asked something and no decision was sent.
        FailedPrecondition: If it has ended or is being cancelled, or is to stop and does not rest.
    """
    if decision is Decision.STOP and job.state not in FINAL:
        return _stopped(job, now)
    resumed = job.resume(now)
    if job.state is not State.PAUSED or job.question is None:
        return resumed
    if decision is None:
        text = f"{job.name} asks: {job.question.message} Send CONTINUE or STOP."
        raise invalid([Violation("decision", job.question.reason, text)])
    waived = (*job.waived_reasons, job.question.reason)[-WAIVED_MAX:]
    return replace(resumed, question=None, waived_reasons=waived)


def _stopped(job: Job, now: datetime) -> Job:
    if job.state is not State.PAUSED:
        raise FailedPrecondition(
            f"{job.name} is {job.state.lower()}; only what is paused is answered with STOP. "
            "Cancel it instead.",
            reason="NOT_PAUSED",
            job=job.name,
            state=job.state.lower(),
        )
    why = "" if job.question is None else f" {job.question.message}"
    return replace(job.cancel(now), state_reason=f"Stopped as decided.{why}")
