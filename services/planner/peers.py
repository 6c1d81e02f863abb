"""What the planner asks of other services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attune.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from attune.spec.v1 import compute_pb2, spec_pb2
from attune.trainer.v1 import render_pb2, render_pb2_grpc

from services.common.errors import DeadlineExceeded, Unavailable
from services.common.peers import CALL_TIMEOUT_S, call, channel
from services.planner.dataset.facts import DatasetFacts
from services.planner.dataset.report import TokenCount
from services.planner.plan.catalogue import CatalogueModel

COUNT_TIMEOUT_S = 60.0
"""The first count loads a tokenizer."""


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

    async def estimate(self, spec: spec_pb2.Spec, dataset: DatasetFacts) -> compute_pb2.ComputePlan:
        """Return hardware, memory, time and cost of a spec.

        Args:
            spec: Complete but for `compute`.
            dataset: What it trains on.

        Raises:
            Unavailable: If the scheduler cannot be asked now.
        """
        shape = scheduler_pb2.DataShape(
            max_token_count=dataset.report.max_token_count,
            total_token_count=dataset.report.total_token_count,
        )
        request = scheduler_pb2.EstimateComputeRequest(spec=spec, data_shape=shape)
        plan: compute_pb2.ComputePlan = await _ask(
            "scheduler", self._address, self._stub.EstimateCompute, request
        )
        return plan


class Trainer:
    """The trainer, which alone owns tokenizers and knows what is at hand."""

    def __init__(self, address: str) -> None:
        """Keep `host:port`; nothing is connected before the first call."""
        self._address = address
        self._channel = channel(address)
        self._stub = render_pb2_grpc.RenderServiceStub(self._channel)

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
            TokenCount(count.token_count, count.trainable_token_count) for count in answer.counts
        ]


async def _ask(
    peer: str, address: str, method: Any, request: Any, timeout_s: float = CALL_TIMEOUT_S
) -> Any:
    """Make a call whose failure to arrive is told as what it means here."""
    try:
        return await call(method, request, timeout_s=timeout_s)
    except (Unavailable, DeadlineExceeded):
        raise Unavailable(
            f"The {peer} at {address} does not answer, so nothing was kept. Start it if it is "
            "down (`attune up`), then send the same request again.",
            reason=f"{peer.upper()}_AWAY",
            retry_after_s=2.0,
            address=address,
        ) from None
