"""Which layouts are worth a try after some ran out of memory; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.scheduler.failed_layout import FailedLayout

if TYPE_CHECKING:
    from services.scheduler.layout import Placement


def avoids(placement: Placement, failed: Sequence[FailedLayout]) -> bool:
    """Return whether a placement keeps clear of everything that ran out of memory.

    It does where its device is larger, or where it holds fewer rows at once, or as many and
    computes activations again, and is expected to need less for it.
    """
    return not any(
        placement.capacity_bytes <= one.capacity_bytes and not _is_smaller(placement, one)
        for one in failed
    )


def worth_trying(
    placements: Sequence[Placement], failed: Sequence[FailedLayout]
) -> list[Placement]:
    """Return the placements that avoid what failed: smaller micro-batches before checkpointing."""
    left = [placed for placed in placements if avoids(placed, failed)]
    if not failed:
        return left
    return [placed for placed in left if not placed.batching.gradient_checkpointing] or left


def _is_smaller(placement: Placement, failed: FailedLayout) -> bool:
    batching = placement.batching
    # Fewer rows without checkpointing may need more than many rows with it.
    if placement.memory.formula_bytes >= failed.expected_bytes:
        return False
    if batching.micro_batch_size == failed.micro_batch_size:
        return batching.gradient_checkpointing and not failed.gradient_checkpointing
    return batching.micro_batch_size < failed.micro_batch_size
