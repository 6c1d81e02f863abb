"""The order in which a gang goes through the rows: that of one process, whatever its size.

Rows are shuffled by seed and epoch alone. The last rows of an epoch seldom fill a micro-batch of
every process; one process leaves its last batch short, a gang fills it with a row that has nothing
to learn, so that both step over the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Sampler

from services.trainer.recipes.training import Example, Pair

BLANK = Example([0], [-100])
"""A row of which no token is learnt."""
BLANK_PAIR = Pair([0], [-100], [0, 0], [], [])
"""The same among pairs: a prompt that nobody answers."""


class Order(Sampler[int]):
    """Row numbers of one epoch after the other."""

    def __init__(self, count: int, seed: int, multiple: int) -> None:
        """Keep what decides the order.

        Args:
            count: Rows; the number after the last one is the blank row.
            seed: Of the shuffling.
            multiple: An epoch has a multiple of so many numbers.
        """
        self._count = count
        self._seed = seed
        self._blanks = -count % multiple
        self._epoch = 0

    def __len__(self) -> int:
        """Return the numbers of an epoch."""
        return self._count + self._blanks

    def __iter__(self) -> Iterator[int]:
        """Return the numbers of the present epoch, blank rows last."""
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        yield from torch.randperm(self._count, generator=generator).tolist()
        yield from [self._count] * self._blanks
        self._epoch += 1

    def set_epoch(self, epoch: int) -> None:
        """Go on with that epoch, counted from 0."""
        self._epoch = epoch


def keep_order(trainer: Any, count: int) -> None:
    """Make a trainer of a gang step over the rows as one process would.

    Args:
        trainer: Of TRL; its last training row, of number `count`, is blank.
        count: Rows to learn.
    """
    args = trainer.args
    order = Order(count, args.data_seed, args.per_device_train_batch_size * args.world_size)
    trainer._get_train_sampler = lambda *_: order
