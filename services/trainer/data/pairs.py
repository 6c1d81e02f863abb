"""Rows of preferences as tokens."""

from __future__ import annotations

from services.trainer.data.render import Renderer
from services.trainer.data.row_shape import shape_row
from services.trainer.data.rows import Row
from services.trainer.recipes.training import IGNORED, Pair


def make_pair(renderer: Renderer, row: Row, max_length: int) -> Pair | None:
    """Return a row of preferences as tokens, exactly as it is previewed.

    Args:
        renderer: Of the base model.
        row: With a preferred and a rejected answer.
        max_length: Tokens at which prompt and answer together are cut.

    Returns:
        None where the cut leaves nothing to tell apart: one of the answers is gone, or what is
        left of both is the same.

    Raises:
        InvalidArgument: If the template refuses the row.
    """
    prompt, chosen, rejected = renderer.pair(shape_row(row.item))
    room = max(0, max_length - len(prompt))
    chosen, rejected = chosen[:room], rejected[:room]
    # A prompt without a token leaves the first one of an answer foretold by nothing.
    if not prompt or not chosen or not rejected or chosen == rejected:
        return None
    return Pair(
        token_ids=[*prompt, *chosen],
        labels=[*([IGNORED] * len(prompt)), *chosen],
        prompt_ids=prompt,
        chosen_ids=chosen,
        rejected_ids=rejected,
    )
