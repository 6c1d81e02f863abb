"""Predicts the peak memory of one device, by component; pure but for one table that it reads.

Bytes are counted per token, layer and tensor: what the backward pass saves, what one layer makes
while it is computed again, what the output head holds. What depends on the version of a library
is read from `libraries.yaml`, where every number has its source.
"""

from services.scheduler.memory.estimate import (
    Component,
    Layout,
    MemoryEstimate,
    Range,
    estimate_memory,
    predict,
)
from services.scheduler.memory.training import Objective, Rollout, Training
from services.scheduler.memory.weights import weight_bytes

__all__ = [
    "Component",
    "Layout",
    "MemoryEstimate",
    "Objective",
    "Range",
    "Rollout",
    "Training",
    "estimate_memory",
    "predict",
    "weight_bytes",
]
