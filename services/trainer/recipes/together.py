"""One training in several processes: how they join, and that all do what the first one decides.

Every method of the observer is called by the trainer library in all processes, in the same order.
The observer of the first one is asked, and its answer or its refusal goes to the others; so a run
is stopped, halted or judged in one place, and no process waits for another that has left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from torch import distributed

from services.trainer.gang import Gang, Meeting
from services.trainer.recipes.training import Observer, Resolved
from services.trainer.run import RunCancelled

WAIT = timedelta(minutes=30)
"""Longest that processes wait for each other; the first one may be writing a large checkpoint."""
NO, YES, STOP = 0, 1, 2
"""What the first process tells the others."""


@contextmanager
def joined(
    gang: Gang, meeting: Meeting, observer: Observer | None, *, cuda: bool
) -> Iterator[Observer]:
    """Be part of a gang while the block runs; yields what to tell in place of the observer.

    Args:
        gang: It, as this process sees it.
        meeting: Where it meets.
        observer: Of the first process; the others have none.
        cuda: Whether to compute on GPUs.

    Raises:
        RunCancelled: In all but the first process, when the first one's observer raises.
    """
    variables = {
        **gang.environment(),
        "MASTER_ADDR": meeting.host,
        "MASTER_PORT": str(meeting.port),
    }
    os.environ.update(variables)
    if cuda:
        torch.cuda.set_device(gang.local_rank)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=WAIT)
    try:
        # What is decided travels beside the gradients, and over the host's memory.
        control = distributed.new_group(backend="gloo", timeout=WAIT)
        yield Together(observer, control)
    finally:
        if distributed.is_initialized():  # The end of vLLM, if it sampled, has ended them all.
            distributed.destroy_process_group()
        # The phases after this one are those of one process again.
        AcceleratorState._reset_state(reset_partial_state=True)
        for name in variables:
            os.environ.pop(name, None)


class Together:
    """The observer of a gang: the first process asks its own, the others do as that says."""

    def __init__(self, observer: Observer | None, control: Any) -> None:
        """Keep the first process's observer, None in the others, and the group that talks."""
        self._observer = observer
        self._control = control

    def on_resolved(self, resolved: Resolved) -> None:
        """Take in what the settings have become; told before the first step."""
        self._decide(lambda observer: observer.on_resolved(resolved))

    def on_start(self, step: int, eval_losses: Mapping[int, float]) -> None:
        """Take in where it begins, and the evaluations before that by step."""
        self._decide(lambda observer: observer.on_start(step, eval_losses))

    def on_step(self, step: int) -> None:
        """Take in that so many optimizer steps are done."""
        self._decide(lambda observer: observer.on_step(step))

    def on_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Take in numbers of a step, which are equal in all processes."""
        self._decide(lambda observer: observer.on_metrics(step, values))

    def on_samples(self, step: int, answers: Sequence[Sequence[int]]) -> None:
        """Take in the token ids of the answers to `samples`, in their order."""
        self._decide(lambda observer: observer.on_samples(step, answers))

    def on_checkpoint(self, step: int, folder: Path) -> None:
        """Take over a folder once every process has written its part of it."""
        distributed.barrier(group=self._control)
        self._decide(lambda observer: observer.on_checkpoint(step, folder))

    def wants_checkpoint(self) -> bool:
        """Return whether to save after this step, whether or not one is due."""
        return self._decide(lambda observer: observer.wants_checkpoint())

    def is_enough(self) -> bool:
        """Return whether to stop early, after an evaluation and its checkpoint."""
        return self._decide(lambda observer: observer.is_enough())

    def _decide(self, ask: Callable[[Observer], bool | None]) -> bool:
        said, refusal = NO, None
        if self._observer is not None:
            try:
                said = YES if ask(self._observer) else NO
            except BaseException as error:
                said, refusal = STOP, error
        flag = torch.tensor([said], dtype=torch.uint8)
        distributed.broadcast(flag, src=0, group=self._control)
        if refusal is not None:
            raise refusal
        if int(flag) == STOP:
            raise RunCancelled
        return int(flag) == YES
