"""What of the hold-out training has seen: equal prompts are not scored, near equals are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.common.near_text import pairs, words
from services.trainer.data.rows import Row
from services.trainer.data.split import LIKENESS_LEAST, NEAR_ROWS_MAX

LEFT_SHARE_MIN = 0.5
"""Share of the hold-out that must be left when equal rows are not scored; with less left, all are
scored, and the verdict cannot be BETTER."""


@dataclass(frozen=True)
class Leakage:
    """Hold-out rows that training knows."""

    holdout_count: int
    """Rows held out."""
    equal: Sequence[int]
    """Positions of hold-out rows whose prompt is a training row's, case, spacing and punctuation
    aside."""
    near: Sequence[int]
    """Positions of others whose prompt nearly equals one."""
    near_checked: bool
    """Whether near equals were looked for; of very many rows they are not."""

    @property
    def excluded(self) -> bool:
        """Whether equal rows are left out of all scores."""
        left = self.holdout_count - len(self.equal)
        return bool(self.equal) and left >= LEFT_SHARE_MIN * self.holdout_count

    @property
    def scored(self) -> list[int]:
        """Positions of the hold-out rows that are scored."""
        out = set(self.equal) if self.excluded else set()
        return [index for index in range(self.holdout_count) if index not in out]

    @property
    def spoils(self) -> bool:
        """Whether so much is known that the scores say nothing of unseen rows."""
        return bool(self.equal) and not self.excluded

    @property
    def sentence(self) -> str:
        """What there is to say; empty when all was looked for and nothing found."""
        told = []
        if self.equal:
            what = "are not scored" if self.excluded else "are scored, for too few others are left"
            told.append(
                f"{len(self.equal)} of {self.holdout_count} held-out prompts are also training "
                f"prompts and {what}."
            )
        if self.near:
            told.append(
                f"{len(self.near)} of {self.holdout_count} held-out prompts nearly equal a "
                "training prompt; they are scored."
            )
        if not self.near_checked:
            told.append(
                f"Near equals were not looked for: there are over {NEAR_ROWS_MAX:,} prompts."
            )
        return " ".join(told)


def leakage(training: Sequence[Row], holdout: Sequence[Row]) -> Leakage:
    """Compare what held-out rows ask with what training rows ask."""
    taught = [row.asked for row in training]
    asked = [row.asked for row in holdout]
    known = {_key(text) for text in taught}
    equal = [index for index, text in enumerate(asked) if _key(text) in known]
    checked = len(taught) + len(asked) <= NEAR_ROWS_MAX
    alike = pairs([*taught, *asked], LIKENESS_LEAST, border=len(taught)) if checked else []
    near = {
        later - len(taught) for earlier, later in alike if earlier < len(taught) <= later
    } - set(equal)
    return Leakage(len(asked), equal, sorted(near), checked)


def _key(text: str) -> str:
    return " ".join(words(text)) or text.strip()
