"""How much of the machine a run takes, and how it says that memory is out."""

from __future__ import annotations

import errno
import gc
import platform
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from services.trainer.memory import peak_resident_bytes, restart_peak

SENTENCES = (
    "CUDA out of memory",
    "DefaultCPUAllocator: can't allocate memory",
    "not enough memory: you tried to allocate",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)
"""How libraries say it in errors that have no class of their own."""
CAUSES_MAX = 10
"""Errors that are looked at behind one."""


def use_threads(count: int) -> None:
    """Compute with so many threads from now on."""
    torch.set_num_threads(count)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of the host or of a GPU was not enough."""
    looked: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if looked is None:
            return False
        if isinstance(looked, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(looked, OSError) and looked.errno == errno.ENOMEM:
            return True
        if any(sentence in str(looked) for sentence in SENTENCES):
            return True
        looked = looked.__cause__ or looked.__context__
    return False


def begin_peak(*, cuda: bool) -> None:
    """Look for the highest use of memory from now on."""
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        restart_peak()


def peak_bytes(*, cuda: bool) -> int:
    """Return the highest use since then: of tensors on the GPU, else of the whole process."""
    return torch.cuda.max_memory_allocated() if cuda else peak_resident_bytes()


def processor_name(*, cuda: bool) -> str:
    """Return what computes, such as `NVIDIA L4` or the processor's own name."""
    if cuda:
        return str(torch.cuda.get_device_name())
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


@contextmanager
def draws_as_found() -> Iterator[None]:
    """Put random states back as they were, whatever is drawn within."""
    python, arrays, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(tensors)
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)


@contextmanager
def left_as_found() -> Iterator[None]:
    """Put random states and memory back as they were, whatever is done within."""
    with draws_as_found():
        try:
            yield
        finally:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
