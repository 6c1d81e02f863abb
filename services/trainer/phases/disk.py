"""How much room a run's checkpoints take, and how libraries say that there is none; pure."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.stage_pb2 import Method, Stage

CHECKPOINTS_MAX = 4
"""The two newest and the best one, which are kept, and the one that is being written."""
TRAINED_BYTES = 12
"""A trained value on disk: itself and two moments of the optimizer, in float32."""
SPARE_BYTES = 64 * 1024 * 1024
"""For lists, the report and the adapter that is published."""
SENTENCES = (
    "No space left on device",
    "os error 28",
    "Disk quota exceeded",
    "PytorchStreamWriter failed writing",
    "iostream error",
)
"""How libraries say it in errors that are no OSError."""
NUMBERS = (errno.ENOSPC, errno.EDQUOT)
CAUSES_MAX = 10
"""Errors that are looked at behind one."""


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error says that a disk had no room left."""
    looked: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if looked is None:
            return False
        if isinstance(looked, OSError) and looked.errno in NUMBERS:
            return True
        if any(sentence in str(looked) for sentence in SENTENCES):
            return True
        looked = looked.__cause__ or looked.__context__
    return False


def trained_count(shape: ModelShape, stage: Stage) -> int:
    """Return how many values a stage trains: all, or those of its adapter at the most.

    Args:
        shape: Of the base model.
        stage: Its method and rank.
    """
    if stage.method == Method.METHOD_FULL:
        return shape.parameter_count
    rank = stage.hyperparameters.lora.rank
    return sum(_adapter_sizes(shape, rank, dora=stage.method == Method.METHOD_DORA))


def _adapter_sizes(shape: ModelShape, rank: int, *, dora: bool) -> Iterator[int]:
    """Yield the values of each adapter on the linear layers: both matrices, and DoRA's lengths."""
    hidden, feed = shape.hidden_size, shape.intermediate_size
    heads = max(hidden, shape.head_count * shape.head_size)
    # Query, key and value as wide as all heads are, the output, and three of the feed-forward part.
    layers = [(hidden, heads)] * 3 + [(heads, hidden)] + [(hidden, feed)] * 2 + [(feed, hidden)]
    for fan_in, fan_out in layers:
        yield shape.layer_count * (rank * (fan_in + fan_out) + (fan_out if dora else 0))


def bytes_needed(shape: ModelShape, stage: Stage) -> int:
    """Return the room that a stage takes on disk at the most, in bytes."""
    one = trained_count(shape, stage) * TRAINED_BYTES
    return CHECKPOINTS_MAX * one + SPARE_BYTES
