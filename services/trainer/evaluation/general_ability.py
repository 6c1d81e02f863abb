"""General ability before and after: the loss on plain text, and a small suite of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.trainer.evaluation.bootstrap import Figure, Resampling, difference, mean
from services.trainer.evaluation.general_questions import QUESTIONS, Question
from services.trainer.recipes.generation import Generator
from services.trainer.runtime.run_context import RunContext

CHANCE = 0.25
"""Share of the suite that guessing gets right: each question has four options."""
SUITE_FALL_MAX = 0.05
"""Share of the suite that may be lost, when chance does not explain it, before ability counts as
lost: two of forty questions."""
LOSS_RISE_MAX = 0.2
"""Rise of the loss on the text, in nats per token, that a capable base may suffer: a perplexity
higher by a fifth. A choice of ours; adapters that keep to their task stay below 0.1."""


@dataclass(frozen=True)
class Ability:
    """What one model shows of general ability."""

    text_loss: float | None
    """Of the spec's text sample, in nats per token; None without a sample."""
    right: Sequence[int]
    """1 for each question of the suite that is answered right, else 0."""

    def to_json(self) -> dict[str, Any]:
        """Return it as the result of a phase keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Ability:
        """Return what `to_json` gave."""
        return cls(values["text_loss"], values["right"])


@dataclass(frozen=True)
class Change:
    """General ability of the tuned model against its base."""

    before: Ability
    after: Ability
    suite: Figure
    """Share of the suite that is right, tuned less base."""
    is_capable: bool
    """Whether the base answers the suite better than chance; else it has nothing to lose."""
    is_lost: bool
    """Whether a capable base lost more than the thresholds allow."""
    sentence: str
    """What happened, with figures."""


def measure(context: RunContext, generator: Generator) -> Ability:
    """Return what a model shows; takes a forward pass for each option of the suite."""
    tokenizer = context.renderer.tokenizer
    text = context.spec.evaluation.general_ability_check
    token_ids = _tokens(tokenizer, text)[: generator.context_length]
    text_loss = None
    if len(token_ids) >= 2:
        logprobs = generator.logprobs(token_ids[:1], token_ids[1:])
        text_loss = -sum(logprobs) / len(logprobs)
    right = []
    for question in QUESTIONS:
        context.check()
        right.append(int(_is_right(generator, tokenizer, question)))
    return Ability(text_loss, right)


def compare(before: Ability, after: Ability, how: Resampling) -> Change:
    """Judge what training cost; pure."""
    base = mean(before.right, how)
    suite = difference(before.right, after.right, how)
    capable = base.low > CHANCE
    fell = suite.value < -SUITE_FALL_MAX and suite.high < 0.0
    rise = 0.0
    if before.text_loss is not None and after.text_loss is not None:
        rise = after.text_loss - before.text_loss
    # Not the other way round: a loss that is no number is a lost one.
    lost = capable and (fell or not rise <= LOSS_RISE_MAX)
    tuned_share = sum(after.right) / len(after.right)
    told = [
        f"Of {len(before.right)} general questions the base answers {base.value:.0%} right, the "
        f"tuned model {tuned_share:.0%}."
    ]
    if before.text_loss is not None and after.text_loss is not None:
        told.append(
            f"Loss on the general text: {before.text_loss:.3f} before, {after.text_loss:.3f} "
            "after, in nats per token."
        )
    if not capable:
        told.append("The base itself is no better than guessing, so there was little to lose.")
    elif lost:
        told.append("That is more than an adapter that keeps to its task costs.")
    return Change(before, after, suite, capable, lost, " ".join(told))


def _is_right(generator: Generator, tokenizer: Any, question: Question) -> bool:
    """Return whether the right option is the likeliest, by log-probability per character."""
    options = (question.right, *question.wrong)
    rated = [_rating(generator, tokenizer, question.text, option) for option in options]
    return rated[0] > max(rated[1:])


def _rating(generator: Generator, tokenizer: Any, text: str, option: str) -> float:
    before, whole = _tokens(tokenizer, text), _tokens(tokenizer, f"{text} {option}.")
    shared = 0
    for one, other in zip(before, whole, strict=False):
        if one != other:
            break
        shared += 1
    # A tokenizer may join the last word with what follows; at least one token leads.
    shared = max(1, min(shared, len(whole) - 1))
    # Per character: a long option is less likely as a whole, whatever it says.
    return sum(generator.logprobs(whole[:shared], whole[shared:])) / (len(option) + 2)


def _tokens(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text)["input_ids"]
    return found
