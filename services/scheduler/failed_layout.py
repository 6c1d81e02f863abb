"""How a run was laid out when memory was not enough; pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FailedLayout:
    """What ran out of memory: the same, or more, is not tried again on a device of its size."""

    profile: str
    """Profile id of the device."""
    capacity_bytes: int
    """What runs could use of it."""
    micro_batch_size: int
    """Rows of one pass."""
    gradient_checkpointing: bool
    expected_bytes: int
    """What the formula expected, uncorrected; it was more."""
    device_count: int = 1
    """Devices that were used together."""
    reason: str = ""
    """What its job was told, as a sentence; empty while it has not failed."""
