"""How well a model foretells held-out text, which has no answer to grade."""

from __future__ import annotations

from collections.abc import Mapping

from services.trainer.recipes.generation import Generator
from services.trainer.runtime.run_context import RunContext

KEY = "holdout_text_loss"


def text_loss(context: RunContext, generator: Generator) -> dict[str, float]:
    """Return the mean loss on the held-out rows of text, in nats per token; nothing without any.

    Args:
        context: The run.
        generator: The model that is measured.
    """
    length = min(context.stage.hyperparameters.max_length, generator.context_length)
    total, count = 0.0, 0
    for row in context.split.holdout:
        context.check()
        token_ids = context.renderer.plain(row.text)[:length] if row.text else []
        if len(token_ids) > 1:
            total -= sum(generator.logprobs(token_ids[:1], token_ids[1:]))
            count += len(token_ids) - 1
    return {KEY: total / count} if count else {}


def say_text_loss(
    context: RunContext, before: Mapping[str, float], after: Mapping[str, float]
) -> None:
    """Say how the loss on held-out text has changed, if there is any."""
    if KEY in before and KEY in after:
        context.attempt.say(
            f"Loss on held-out text: {before[KEY]:.3f} before, {after[KEY]:.3f} after, in nats per "
            "token."
        )
