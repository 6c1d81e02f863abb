"""What this machine offers to runs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass

import psutil
import pynvml

from services.trainer.memory import limit_bytes

log = logging.getLogger(__name__)

PROCESSOR = "cpu"
"""Profile of the processor; every other one is a GPU."""
CPU_SHARE = 0.5
"""Of the memory; the rest is for serving, the services and the system."""
GPU_RESERVE_BYTES = 1024**3
"""Held by the driver and the CUDA context of a process."""
SIZES_GB = (4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 141, 180, 288)
"""Memory sizes that cards are sold with; what a driver reports lies a little below or above."""


@dataclass(frozen=True)
class Device:
    """Something that a run can compute on."""

    profile: str
    """Such as `cpu` or `l4-24gb`."""
    memory_bytes: int
    """That runs may use."""


def has_gpu(devices: Iterable[Device]) -> bool:
    """Return whether a GPU is among the devices."""
    return any(device.profile != PROCESSOR for device in devices)


def offered(accelerator: str) -> list[Device]:
    """Return what runs may use: the GPUs with `cuda`, else the processor; never nothing.

    A GPU that is there and not used is said in the log.
    """
    gpus = read_gpus(_cards())
    if accelerator == "cuda" and gpus:
        return gpus
    if gpus:
        names = ", ".join(device.profile for device in gpus)
        log.info("found %s; used only with ATTUNE_TRAINER_ACCELERATOR=cuda", names)
    elif accelerator == "cuda":
        log.warning("no GPU found although the accelerator is cuda; offering the processor")
    return [Device(PROCESSOR, int(memory_bytes() * CPU_SHARE))]


def memory_bytes() -> int:
    """Return the memory of this machine, or of the container that this is."""
    total = psutil.virtual_memory().total
    return min(total, limit_bytes() or total)


def read_gpus(cards: Iterable[tuple[str, int]]) -> list[Device]:
    """Return the devices that cards are.

    Args:
        cards: Each with its name, such as `NVIDIA L4`, and its memory in bytes.
    """
    return [
        Device(_profile(name, total), max(1, total - GPU_RESERVE_BYTES)) for name, total in cards
    ]


def _cards() -> list[tuple[str, int]]:
    """Return what the driver says of its cards; nothing where there is no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        log.debug("no GPU driver: %s", error)
        return []
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [
            (_text(pynvml.nvmlDeviceGetName(one)), int(pynvml.nvmlDeviceGetMemoryInfo(one).total))
            for one in handles
        ]
    except pynvml.NVMLError as error:
        log.warning("the GPU driver did not answer: %s", error)
        return []
    finally:
        pynvml.nvmlShutdown()


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _profile(name: str, total_bytes: int) -> str:
    """Return the profile of a card, such as `l4-24gb` of `NVIDIA L4` with 22.5 GiB."""
    words = re.sub(r"(?i)nvidia|geforce|tesla|\d+\s?gb", " ", name).lower()
    model = re.split(r"[-\s]+", words.strip())
    if model[0] == "rtx":  # `RTX 4090` is rtx4090, `RTX PRO 6000` is rtxpro6000.
        model = ["".join(model[: 3 if "pro" in model else 2])]
    gigabytes = total_bytes / 1e9
    size = min(SIZES_GB, key=lambda sold: abs(sold - gigabytes))
    return f"{model[0]}-{size}gb"
