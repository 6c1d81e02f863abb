"""How the resources that a Ray cluster counts become devices of ours; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.trainer.devices import Device

GPU, CPU = "GPU", "CPU"
"""As Ray names them."""


@dataclass(frozen=True)
class ClusterNode:
    """One machine of the cluster."""

    devices: Sequence[Device]


def resources_of(nodes: Iterable[Mapping[str, float]], threads: int) -> dict[str, float]:
    """Return what one device of a run takes of what the cluster counts.

    Args:
        nodes: Amounts by resource of each machine.
        threads: OpenMP threads of a run.

    Returns:
        One GPU where the cluster counts any, and a core for each thread.
    """
    counts_gpus = any(node.get(GPU, 0) >= 1 for node in nodes)
    return {CPU: float(threads), **({GPU: 1.0} if counts_gpus else {})}


def devices_of(
    found: Sequence[Device], amounts: Mapping[str, float], unit: Mapping[str, float]
) -> list[Device]:
    """Return the devices of a machine that runs may take.

    Args:
        found: What the machine has: its cards, or its processor as one device.
        amounts: What Ray counts there.
        unit: What one device of a run takes.
    """
    if any(amounts.get(name, 0) < amount for name, amount in unit.items()):
        return []
    if GPU not in unit:
        return list(found[:1])
    count = int(amounts[GPU])
    if found[0].profile != "cpu":
        return list(found[:count])
    # Ray counts devices that this machine computes without: its processor is shared among them.
    share = replace(found[0], memory_bytes=found[0].memory_bytes // count)
    return [share] * count


def free_count(total: int, held: int, free: Mapping[str, float], unit: Mapping[str, float]) -> int:
    """Return how many more runs of one device can start.

    Args:
        total: Devices there are.
        held: Devices of our runs, those that wait for them included: nobody overtakes a gang.
        free: Amounts that Ray has to give; others may use the cluster too.
        unit: What one device of a run takes.
    """
    offered = min(int(free.get(name, 0) // amount) for name, amount in unit.items())
    return max(0, min(total - held, offered))


def pack(size: int, nodes: Iterable[ClusterNode]) -> str:
    """Return Ray's strategy for a gang: on one machine where one is large enough.

    Args:
        size: Devices of the gang.
        nodes: The machines.
    """
    largest = max((len(node.devices) for node in nodes), default=0)
    return "STRICT_PACK" if size <= largest else "PACK"
