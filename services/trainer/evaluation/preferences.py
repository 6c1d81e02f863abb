"""How the pairs that are held out are told apart before and after a stage of preferences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from attune.spec.v1.stage_pb2 import Technique

from services.trainer.data.pairs import make_pair
from services.trainer.data.rows import Row
from services.trainer.evaluation.grades import Graded, Scored
from services.trainer.recipes.preference import (
    PairLogprobs,
    Scorer,
    pair_logprobs,
    preference_accuracy,
    preference_margins,
)
from services.trainer.recipes.training import Pair
from services.trainer.runtime.run_context import RunContext, refused

KEY = "preference"
"""Under which the figures stand in the results of BASELINE and EVALUATE."""
CUT_AWAY = "max_length leaves nothing of the row to tell apart. Raise it."
"""Why a row has no score by a grader of pairs."""


def with_preferences(context: RunContext, scored: Scored, scorer: Scorer | None) -> Scored:
    """Return answers with the scores of the graders that compare pairs by the model itself.

    Args:
        context: The run.
        scored: What every other grader makes of a model's answers to rows.
        scorer: The model; None for what is none, such as one answer for every row: it has then no
            scores by these graders.
    """
    names = {one.name for one in context.spec.evaluation.graders if one.HasField("preference")}
    names &= set(scored.graded)
    if not names:
        return scored
    if scorer is None:
        kept = {name: one for name, one in scored.graded.items() if name not in names}
        return replace(scored, graded=kept)
    found = _held(context, scored.rows, scorer)
    return replace(scored, graded={**scored.graded, **dict.fromkeys(names, found)})


def _held(context: RunContext, rows: Sequence[Row], scorer: Scorer) -> Graded:
    """Return 1 for each row whose preferred answer a model holds for the likelier one, else 0."""
    pairs = [_pair(context, row) for row in rows]
    told = pair_logprobs(scorer, [one for one in pairs if one], lambda _: context.check())
    margins = iter(preference_margins(told))
    scores = [None if one is None else float(next(margins) > 0) for one in pairs]
    return Graded(scores, CUT_AWAY if None in scores else "")


def _pair(context: RunContext, row: Row) -> Pair | None:
    longest = context.stage.hyperparameters.max_length
    return refused(partial(make_pair, context.renderer, row, longest), f"line {row.line}")


def holdout_pairs(context: RunContext) -> list[Pair]:
    """Return the pairs that are held out, without those that nothing can be told of."""
    found = [_pair(context, row) for row in context.split.holdout]
    return [pair for pair in found if pair is not None]


def preference_before(context: RunContext, scorer: Scorer) -> dict[str, Any]:
    """Return what the model that a stage begins with thinks of the pairs that are held out.

    Args:
        context: The run.
        scorer: The base, or the base with the adapter of the stage before.

    Returns:
        Under `preference`, `pair_count`, `accuracy` in [0, 1] and the log-probabilities of both
        answers; nothing for a stage that learns no preferences, or without a pair.
    """
    if context.stage.technique != Technique.TECHNIQUE_DPO:
        return {}
    pairs = holdout_pairs(context)
    if not pairs:
        return {}
    found = pair_logprobs(scorer, pairs, lambda _: context.check())
    figures = {"pair_count": len(pairs), "accuracy": preference_accuracy(found)}
    return {KEY: {**figures, **asdict(found)}}


def preference_after(
    context: RunContext, scorer: Scorer, base: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the tuned model thinks of them, beside what it began with.

    Args:
        context: The run.
        scorer: The tuned model.
        base: What BASELINE found.

    Returns:
        As before, and by the implicit reward `reward_accuracy`, in [0, 1], and the mean
        `reward_margin`, in nats times beta.
    """
    if KEY not in base:
        return {}
    before = base[KEY]
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
    return {KEY: result}
