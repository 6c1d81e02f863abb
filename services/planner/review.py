"""Reads a finished job and says what speaks for a change of its plan."""

from __future__ import annotations

from attune.planner.v1 import planner_pb2
from attune.scheduler.v1 import scheduler_pb2

from services.common.errors import FailedPrecondition
from services.common.names import parse
from services.planner import wire
from services.planner.peers import Scheduler, Trainer
from services.planner.spec_store import SpecStore
from services.planner.suggestions import Ended, Suggestion, suggest

ENDED = frozenset(
    (
        scheduler_pb2.Job.STATE_SUCCEEDED,
        scheduler_pb2.Job.STATE_FAILED,
        scheduler_pb2.Job.STATE_CANCELLED,
    )
)


class Review:
    """Reads finished jobs."""

    def __init__(self, specs: SpecStore, scheduler: Scheduler, trainer: Trainer) -> None:
        """Keep where plans, jobs and curves come from."""
        self._specs = specs
        self._scheduler = scheduler
        self._trainer = trainer

    async def suggest(
        self, request: planner_pb2.SuggestRevisionsRequest
    ) -> planner_pb2.SuggestRevisionsResponse:
        """Return what speaks for a change, most promising first.

        Raises:
            InvalidArgument: If the job's name breaks its rule.
            NotFound: If there is no such job, or its plan is gone.
            FailedPrecondition: If the job has not ended.
            Unavailable: If the scheduler or trainer cannot be asked now.
        """
        parse(request.job, wire.JOB, field="job")
        job = await self._scheduler.job(request.job)
        if job.state not in ENDED:
            state = scheduler_pb2.Job.State.Name(job.state).removeprefix("STATE_").lower()
            raise FailedPrecondition(
                f"{job.name} is {state}; its curves and evaluation are complete once it has ended. "
                "Follow it with `attune job watch`, then ask again.",
                reason="JOB_NOT_ENDED",
                job=job.name,
                state=state,
            )
        ran = await self._specs.get(job.spec, job.spec_revision)
        curves = await self._trainer.curves(job.run) if job.run else {}
        ended = Ended(
            spec=ran,
            newest=await self._specs.get(job.spec),
            stage_index=min(job.stage_index, len(ran.stages) - 1),
            report=job.result.report if job.HasField("result") else None,
            curves=curves,
        )
        found = [_to_proto(each) for each in suggest(ended)]
        return planner_pb2.SuggestRevisionsResponse(suggestions=found)


def _to_proto(suggestion: Suggestion) -> planner_pb2.Suggestion:
    changes = [
        planner_pb2.FieldChange(field_path=path, before=before, after=after, reason=reason)
        for path, before, after, reason in suggestion.changes
    ]
    found = suggestion.found
    return planner_pb2.Suggestion(
        code=found.code,
        title=found.title,
        evidence=found.evidence,
        changes=changes,
        spec=suggestion.spec,
    )
