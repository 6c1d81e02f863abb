"""How a run may end, and what becomes of its job; pure."""

from __future__ import annotations

import re
from datetime import datetime

from attune.scheduler.v1.worker_pb2 import FinishRunRequest

from services.common.errors import Violation, invalid
from services.scheduler.chain import after_stage
from services.scheduler.job import Job
from services.scheduler.question import question_violations
from services.scheduler.shortage import World, after_shortage

SHA256 = re.compile(r"[0-9a-f]{64}")
Outcome = FinishRunRequest.Outcome
WITH_ERROR = (
    Outcome.OUTCOME_FAILED,
    Outcome.OUTCOME_LOST,
    Outcome.OUTCOME_OUT_OF_MEMORY,
)
KNOWN = (
    *WITH_ERROR,
    Outcome.OUTCOME_SUCCEEDED,
    Outcome.OUTCOME_CANCELLED,
    Outcome.OUTCOME_PAUSED,
)


def check_outcome(request: FinishRunRequest) -> None:
    """Refuse an outcome that lacks what it must carry, or carries what it must not.

    Raises:
        InvalidArgument: With every violation.
    """
    found = []
    if request.outcome not in KNOWN:
        text = f"{request.outcome} is not an outcome. Send one of the six."
        raise invalid([Violation("outcome", "ENUM", text)])
    name = Outcome.Name(request.outcome).removeprefix("OUTCOME_")
    for field, wanted in (
        ("result", request.outcome == Outcome.OUTCOME_SUCCEEDED),
        ("error", request.outcome in WITH_ERROR),
    ):
        if request.HasField(field) != wanted:  # type: ignore[arg-type]  # One of two literals.
            advice = "is required with" if wanted else "does not go with"
            text = f"This field {advice} {name}. {'Set it' if wanted else 'Leave it out'}."
            found.append(Violation(field, "OUTCOME", text))
    if request.HasField("result"):
        # An adapter, or a whole model; without either the adapter is missed.
        field = "merged_sha256" if request.result.merged_sha256 else "adapter_sha256"
        digest = getattr(request.result, field)
        if not SHA256.fullmatch(digest):
            text = f"'{digest[:80]}' is not 64 lower-case hex digits. Send them."
            found.append(Violation(f"result.{field}", "FORMAT", text))
    if request.outcome == Outcome.OUTCOME_OUT_OF_MEMORY and not request.HasField("memory"):
        text = f"This field is required with {name}. Set it."
        found.append(Violation("memory", "OUTCOME", text))
    if request.HasField("question"):
        if request.outcome != Outcome.OUTCOME_PAUSED:
            text = f"This field does not go with {name}. Leave it out."
            found.append(Violation("question", "OUTCOME", text))
        found += question_violations(request.question)
    if found:
        raise invalid(found)


def apply_outcome(
    job: Job, request: FinishRunRequest, now: datetime, world: World | None = None
) -> Job:
    """Return the job after its run ended.

    Args:
        job: Holds the lease.
        request: Was checked.
        now: The present moment.
        world: Where it could run next; None where that does not matter.

    Raises:
        FailedPrecondition: If the run says it was cancelled or paused, nobody asked it to, and it
            asks nothing itself.
    """
    if request.outcome == Outcome.OUTCOME_SUCCEEDED:
        return after_stage(job, request.result, now)
    if request.outcome == Outcome.OUTCOME_FAILED:
        return job.fail(request.error, now)
    if request.outcome == Outcome.OUTCOME_CANCELLED:
        return job.stop(now)
    if request.outcome == Outcome.OUTCOME_PAUSED:
        if request.HasField("question"):
            return job.ask(request.question, now)
        return job.halt(now)
    if request.outcome == Outcome.OUTCOME_OUT_OF_MEMORY and world is not None:
        return after_shortage(job, request, world, now)
    return job.lose(request.error, now)
