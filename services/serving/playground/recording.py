"""An exchange while its answers come, kept as far as they came whatever ends them."""

from __future__ import annotations

from services.serving.playground.answer import End, Failure
from services.serving.playground.exchange import Exchange
from services.serving.playground.exchange_store import ExchangeStore
from services.serving.playground.prompt import Prompt

BROKEN_OFF = "CANCELLED"
"""Reason of the failure of an answer that nobody waited for any more."""


class Recording:
    """Writes one exchange."""

    def __init__(self, exchanges: ExchangeStore, exchange: Exchange) -> None:
        """Keep where it is written; `begin` writes it."""
        self._exchanges = exchanges
        self._exchange = exchange
        self._texts: list[list[str]] = [[] for _ in exchange.answers]

    @property
    def name(self) -> str:
        """Name of the exchange."""
        return self._exchange.name

    @property
    def prompt(self) -> Prompt:
        """What is asked."""
        return self._exchange.prompt

    async def begin(self) -> None:
        """Keep what is asked."""
        await self._exchanges.add(self._exchange)

    def text(self, index: int) -> str:
        """Return what came of an answer."""
        return "".join(self._texts[index])

    def add(self, index: int, text: str) -> None:
        """Take a piece of an answer; it is written when the answer is over."""
        self._texts[index].append(text)

    async def close(self, index: int, outcome: End | Failure) -> None:
        """Keep an answer that is over."""
        told = self._exchange.with_text(index, self.text(index))
        self._exchange = told.with_outcome(index, outcome)
        await self._exchanges.replace_answers(self._exchange)

    async def stop(self) -> None:
        """Keep what came of the answers that are not over; nobody waits for them any more."""
        answers = self._exchange.answers
        open_ = [index for index, one in enumerate(answers) if not (one.end or one.failure)]
        for index in open_:
            told = self._exchange.with_text(index, self.text(index))
            failure = Failure(BROKEN_OFF, "The caller went away.", exchange=self.name)
            self._exchange = told.with_outcome(index, failure)
        if open_:
            await self._exchanges.replace_answers(self._exchange)
