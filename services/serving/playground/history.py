"""Reads what was asked and answered, and keeps what people think of it."""

from __future__ import annotations

from attune.serving.v1 import playground_pb2 as pb

from services.common.clock import Clock
from services.common.paging import PAGE_BYTES_MAX
from services.serving import wire_playground as wire
from services.serving.playground.exchange_store import ExchangeStore
from services.serving.playground.preference import check_preference

BATCH_EXCHANGES = 20
"""Exchanges that are read at once: one may have some megabytes."""


class History:
    """The exchanges of the playground."""

    def __init__(self, exchanges: ExchangeStore, clock: Clock) -> None:
        """Keep where they are."""
        self._exchanges = exchanges
        self._clock = clock

    async def fetch(
        self, project: str, after: str, limit: int, with_preference: bool
    ) -> list[tuple[str, pb.Exchange]]:
        """Return exchanges, newest first, each with its id: as many as a page may hold, and one.

        Args:
            project: Id of the project.
            after: Id after which the page begins; empty for the first page.
            limit: Most exchanges to return.
            with_preference: Only those that have one.
        """
        found: list[tuple[str, pb.Exchange]] = []
        size_bytes = 0
        while len(found) < limit and size_bytes <= PAGE_BYTES_MAX:
            batch = await self._exchanges.list_page(
                project,
                found[-1][0] if found else after,
                min(BATCH_EXCHANGES, limit - len(found)),
                with_preference=with_preference,
            )
            if not batch:
                break
            found += [(one.id, wire.exchange_to_proto(one)) for one in batch]
            size_bytes += sum(message.ByteSize() for _, message in found[-len(batch) :])
        return found

    async def record(self, request: pb.RecordPreferenceRequest) -> pb.Exchange:
        """Keep an opinion, or return the first answer to a repeated request.

        Raises:
            InvalidArgument: With every violation.
            NotFound: If there is no such exchange.
            FailedPrecondition: If the answer that it names did not come to its end.
        """
        preference = wire.preference_from_proto(request.preference, self._clock.now())
        return await self._exchanges.record(
            request,
            request.exchange,
            preference,
            lambda exchange: check_preference(preference, exchange.answers),
        )
