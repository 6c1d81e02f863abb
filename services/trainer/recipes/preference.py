"""How often a model holds the preferred answer of a pair for the better one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.trainer.recipes.training import Pair


class Scorer(Protocol):
    """What gives the probability of an answer."""

    def logprobs(self, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> list[float]:
        """Return the log-probability of each token of an answer, in nats."""


@dataclass(frozen=True)
class PairLogprobs:
    """Log-probabilities of both answers of pairs, each summed over its tokens, in nats."""

    chosen: Sequence[float]
    rejected: Sequence[float]
    """In the same order."""


def pair_logprobs(
    scorer: Scorer, pairs: Sequence[Pair], check: Callable[[int], None]
) -> PairLogprobs:
    """Return what a model thinks of both answers.

    Args:
        scorer: The model.
        pairs: Any number.
        check: Called with the number of finished pairs after each; it may raise to stop.
    """
    chosen, rejected = [], []
    for index, pair in enumerate(pairs):
        chosen.append(sum(scorer.logprobs(pair.prompt_ids, pair.chosen_ids)))
        rejected.append(sum(scorer.logprobs(pair.prompt_ids, pair.rejected_ids)))
        check(index + 1)
    return PairLogprobs(chosen, rejected)


def preference_accuracy(found: PairLogprobs, reference: PairLogprobs | None = None) -> float:
    """Return the share of pairs whose preferred answer is held for the better one, in [0, 1].

    Args:
        found: Of the model, at least one pair.
        reference: Of what it began with, for the same pairs: the better answer is then the one
            that has gained more, which is its implicit reward in DPO. None to compare the
            log-probabilities themselves.
    """
    margins = preference_margins(found, reference)
    return sum(margin > 0 for margin in margins) / len(margins)


def preference_margins(found: PairLogprobs, reference: PairLogprobs | None = None) -> list[float]:
    """Return by how much each preferred answer is ahead, in nats; see `preference_accuracy`."""
    own = [one - other for one, other in zip(found.chosen, found.rejected, strict=True)]
    if reference is None:
        return own
    begun = [one - other for one, other in zip(reference.chosen, reference.rejected, strict=True)]
    return [now - before for now, before in zip(own, begun, strict=True)]
