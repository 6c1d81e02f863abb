"""How much of the machine a run's arithmetic takes, and how it says that memory is out."""

from __future__ import annotations

import torch


def use_threads(count: int) -> None:
    """Compute with so many threads from now on."""
    torch.set_num_threads(count)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of the host or of a GPU was not enough."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError)
