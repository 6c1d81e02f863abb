"""How the pairs that are held out are told apart before and after a stage of preferences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from services.trainer.pairs import make_pair
from services.trainer.recipes.preference import (
    PairLogprobs,
    Scorer,
    pair_logprobs,
    preference_accuracy,
    preference_margins,
)
from services.trainer.recipes.training import Pair
from services.trainer.run_context import RunContext, refused


def holdout_pairs(context: RunContext) -> list[Pair]:
    """Return the pairs that are held out, without those that nothing can be told of."""
    longest = context.stage.hyperparameters.max_length
    found = [
        refused(partial(make_pair, context.renderer, row, longest), f"line {row.line}")
        for row in context.split.holdout
    ]
    return [pair for pair in found if pair is not None]


def preference_before(context: RunContext, scorer: Scorer) -> dict[str, Any] | None:
    """Return what the model that a stage begins with thinks of the pairs that are held out.

    Args:
        context: The run, of a stage that learns preferences.
        scorer: The base, or the base with the adapter of the stage before.

    Returns:
        `accuracy`, in [0, 1], and the log-probabilities of both answers; None without a pair.
    """
    pairs = holdout_pairs(context)
    if not pairs:
        return None
    found = pair_logprobs(scorer, pairs, lambda _: context.check())
    return {"pair_count": len(pairs), "accuracy": preference_accuracy(found), **asdict(found)}


def preference_after(context: RunContext, scorer: Scorer, before: dict[str, Any]) -> dict[str, Any]:
    """Return what the tuned model thinks of them, beside what it began with.

    Args:
        context: The run.
        scorer: The tuned model.
        before: What `preference_before` returned.

    Returns:
        As before, and by the implicit reward `reward_accuracy`, in [0, 1], and the mean
        `reward_margin`, in nats times beta.
    """
    found = pair_logprobs(scorer, holdout_pairs(context), lambda _: context.check())
    reference = PairLogprobs(before["chosen"], before["rejected"])
    margins: Sequence[float] = preference_margins(found, reference)
    beta = context.stage.hyperparameters.dpo.beta
    result = {
        "pair_count": len(found.chosen),
        "accuracy": preference_accuracy(found),
        "reward_accuracy": preference_accuracy(found, reference),
        "reward_margin": beta * sum(margins) / len(margins),
        **asdict(found),
    }
    context.attempt.say(
        f"Of {len(margins)} unseen pairs the preferred answer is the likelier one in "
        f"{result['accuracy']:.1%}, {before['accuracy']:.1%} before, and has gained more than the "
        f"rejected one in {result['reward_accuracy']:.1%}."
    )
    return result
