"""What this machine offers to runs."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from dataclasses import dataclass

import psutil

log = logging.getLogger(__name__)

QUERY_TIMEOUT_S = 10.0
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


def offered(accelerator: str) -> list[Device]:
    """Return what runs may use: the GPUs with `cuda`, else the processor; never nothing.

    A GPU that is there and not used is said in the log.
    """
    gpus = read_gpus(_query())
    if accelerator == "cuda" and gpus:
        return gpus
    if gpus:
        names = ", ".join(device.profile for device in gpus)
        log.info("found %s; used only with ATTUNE_TRAINER_ACCELERATOR=cuda", names)
    elif accelerator == "cuda":
        log.warning("no GPU found although the accelerator is cuda; offering the processor")
    return [Device("cpu", int(psutil.virtual_memory().total * CPU_SHARE))]


def read_gpus(answer: str) -> list[Device]:
    """Return the devices in an answer of nvidia-smi: one `name, MiB` per line."""
    devices = []
    for line in answer.splitlines():
        name, _, size = line.rpartition(",")
        if name and size.strip().isdecimal():
            total = int(size) * 1024**2
            devices.append(Device(_profile(name, total), max(1, total - GPU_RESERVE_BYTES)))
    return devices


def _query() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=QUERY_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("nvidia-smi did not answer: %s", error)
        return ""
    return done.stdout


def _profile(name: str, total_bytes: int) -> str:
    """Return the profile of a card, such as `l4-24gb` of `NVIDIA L4` with 22.5 GiB."""
    words = re.sub(r"(?i)nvidia|geforce|tesla|\d+\s?gb", " ", name).lower()
    model = re.split(r"[-\s]+", words.strip())
    if model[0] == "rtx":  # `RTX 4090` is rtx4090, `RTX PRO 6000` is rtxpro6000.
        model = ["".join(model[: 3 if "pro" in model else 2])]
    gigabytes = total_bytes / 1e9
    size = min(SIZES_GB, key=lambda sold: abs(sold - gigabytes))
    return f"{model[0]}-{size}gb"
