"""What the planner asks of other services."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from attune.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from attune.spec.v1 import compute_pb2, spec_pb2
from attune.trainer.v1 import (
    grader_pb2,
    grader_pb2_grpc,
    render_pb2,
    render_pb2_grpc,
    trainer_pb2,
    trainer_pb2_grpc,
)

from services.common.errors import DeadlineExceeded, InvalidArgument, NotFound, Unavailable
from services.common.peers import CALL_TIMEOUT_S, call, channel, stream
from services.planner.dataset.facts import DatasetFacts
from services.planner.dataset.report import TokenCount
from services.planner.plan.catalogue import CatalogueModel
from services.planner.suggestions import Point

COUNT_TIMEOUT_S = 60.0
"""The first count loads a tokenizer."""
CURVE_TIMEOUT_S = 20.0
POINTS_MAX = 100_000
"""Lines of one run that are read; a longer one is cut, which its curves do not show."""


class Scheduler:
    """The scheduler, as far as the planner needs it."""

    def __init__(self, address: str) -> None:
        """Keep `host:port`; nothing is connected before the first call."""
        self._address = address
        self._channel = channel(address)
        self._stub = scheduler_pb2_grpc.SchedulerServiceStub(self._channel)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(None)

    async def estimate(
        self, spec: spec_pb2.Spec, dataset: DatasetFacts | None
    ) -> compute_pb2.ComputePlan:
        """Return hardware, memory, time and cost of a spec.

        A plan that nothing here can run or estimate yet is not available, and says why.

        Args:
            spec: Complete but for `compute`; has a stage at least.
            dataset: What it trains on; None while the rows are only described, so that the
                longest row is assumed everywhere.

        Raises:
            Unavailable: If the scheduler cannot be asked now.
        """
        request = scheduler_pb2.EstimateComputeRequest(spec=spec)
        if dataset is not None and dataset.report.total_token_count:
            request.data_shape.max_token_count = dataset.report.max_token_count
            request.data_shape.total_token_count = dataset.report.total_token_count
        try:
            plan: compute_pb2.ComputePlan = await _ask(
                "scheduler", self._address, self._stub.EstimateCompute, request
            )
        except InvalidArgument as error:
            missing = [each.message for each in error.violations] or [error.message]
            return compute_pb2.ComputePlan(available=False, missing=missing)
        return plan

    async def job(self, name: str) -> scheduler_pb2.Job:
        """Return a job.

        Raises:
            NotFound: If there is none of that name.
            Unavailable: If the scheduler cannot be asked now.
        """
        request = scheduler_pb2.GetJobRequest(name=name)
        job: scheduler_pb2.Job = await _ask("scheduler", self._address, self._stub.GetJob, request)
        return job


class Trainer:
    """The trainer, which alone owns tokenizers and knows what is at hand."""

    def __init__(self, address: str) -> None:
        """Keep `host:port`; nothing is connected before the first call."""
        self._address = address
        self._channel = channel(address)
        self._stub = render_pb2_grpc.RenderServiceStub(self._channel)
        self._runs = trainer_pb2_grpc.TrainerServiceStub(self._channel)
        self._graders = grader_pb2_grpc.GraderServiceStub(self._channel)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(None)

    async def list_models(self) -> tuple[CatalogueModel, ...]:
        """Return the base models that are at hand.

        Raises:
            Unavailable: If the trainer cannot be asked now.
        """
        answer = await _ask(
            "trainer",
            self._address,
            self._stub.ListLocalModels,
            render_pb2.ListLocalModelsRequest(),
        )
        return tuple(
            CatalogueModel(
                id=shape.id,
                licence=shape.licence,
                context_length=shape.context_length,
                parameter_count=shape.parameter_count,
                source="at hand in the trainer",
                revision=shape.revision,
            )
            for shape in answer.models
        )

    async def has_judge(self) -> bool | None:
        """Return whether graders may ask a model; None while the trainer cannot be asked."""
        request = grader_pb2.GetJudgeRequest()
        try:
            answer = await _ask("trainer", self._address, self._graders.GetJudge, request)
        except Unavailable:
            return None
        return bool(answer.is_set)

    async def render_rows(
        self, base_model: str, rows: Sequence[str], max_length: int = 0
    ) -> render_pb2.RenderRowsResponse:
        """Return what training sees of rows, in order.

        Args:
            base_model: Id of a model that is at hand.
            rows: JSON lines, 1 to 20, at most 2 MiB in all.
            max_length: Tokens at which they are cut, at least 16; 0 for the context length.

        Raises:
            Unavailable: If the trainer cannot be asked now.
            NotFound: If the model is not at hand.
            InvalidArgument: If a row has no known shape, or the template refuses it.
        """
        request = render_pb2.RenderRowsRequest(
            base_model=base_model, rows=rows, max_length=max_length
        )
        answer: render_pb2.RenderRowsResponse = await _ask(
            "trainer", self._address, self._stub.RenderRows, request, COUNT_TIMEOUT_S
        )
        return answer

    async def count_tokens(self, base_model: str, rows: Sequence[str]) -> list[TokenCount]:
        """Return the tokens of rows, in order.

        Args:
            base_model: Id of a model that is at hand.
            rows: JSON lines, 1 to 1,000, at most 2 MiB in all.

        Raises:
            Unavailable: If the trainer cannot be asked now.
            NotFound: If the model is not at hand any more.
        """
        request = render_pb2.CountTokensRequest(base_model=base_model, rows=rows)
        answer = await _ask(
            "trainer", self._address, self._stub.CountTokens, request, COUNT_TIMEOUT_S
        )
        return [
            TokenCount(
                count.token_count,
                count.prompt_token_count,
                count.answer_token_count,
                count.rejected_token_count,
            )
            for count in answer.counts
        ]

    async def curves(self, run: str) -> dict[str, list[Point]]:
        """Return the figures of a run's newest attempt by name, in order of the steps.

        What is no number, as where a loss diverged, is left out, for nothing can be told from it.
        Empty when the trainer knows nothing of the run any more.

        Args:
            run: Name of a run that has ended.

        Raises:
            Unavailable: If the trainer cannot be asked now.
        """
        found: dict[str, list[Point]] = {}
        request, count = trainer_pb2.WatchRunRequest(name=run), 0
        try:
            async for item in stream(self._runs.WatchRun, request, timeout_s=CURVE_TIMEOUT_S):
                for name, value in item.metrics.values.items():
                    if math.isfinite(value):
                        found.setdefault(name, []).append(Point(item.metrics.step, value))
                count += 1
                if count == POINTS_MAX:
                    break
        except NotFound:
            return {}
        except (Unavailable, DeadlineExceeded):
            raise _away("trainer", self._address) from None
        return found


async def _ask(
    peer: str, address: str, method: Any, request: Any, timeout_s: float = CALL_TIMEOUT_S
) -> Any:
    """Make a call whose failure to arrive is told as what it means here."""
    try:
        return await call(method, request, timeout_s=timeout_s)
    except (Unavailable, DeadlineExceeded):
        raise _away(peer, address) from None


def _away(peer: str, address: str) -> Unavailable:
    return Unavailable(
        f"The {peer} at {address} does not answer, so nothing was kept. Start it if it is "
        "down (`attune up`), then send the same request again.",
        reason=f"{peer.upper()}_AWAY",
        retry_after_s=2.0,
        address=address,
    )
