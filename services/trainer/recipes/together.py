"""One training in several processes: how they join, and that all do what the first one decides.

Every method of the observer is called by the trainer library in all processes, in the same order.
The observer of the first one is asked, and its answer or its refusal goes to the others; so a run
is stopped, halted or judged in one place, and no process waits for another that has left.

While answers are sampled and graded, each process takes as many steps as its own answers need: it
works apart, hears without waiting that another has failed, and what failed is told when all are
done. The first one then raises it, whoever met with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate.state import AcceleratorState
from torch import distributed

from services.trainer.gang import Gang, Meeting
from services.trainer.recipes.processor import is_out_of_memory
from services.trainer.recipes.training import Observer, Resolved
from services.trainer.run import Question, RunCancelled, RunFailed, RunPaused

Result = TypeVar("Result")

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
    stores: Any = distributed  # Its types leave them out.
    store = stores.TCPStore(meeting.host, meeting.port, gang.size, gang.leads, timeout=WAIT)
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        store=store,
        rank=gang.rank,
        world_size=gang.size,
        timeout=WAIT,
    )
    try:
        # What is decided travels beside the gradients, and over the host's memory.
        control = distributed.new_group(backend="gloo", timeout=WAIT)
        yield Together(observer, control, stores.PrefixStore("apart", store))
    finally:
        if distributed.is_initialized():  # The end of vLLM, if it sampled, has ended them all.
            distributed.destroy_process_group()
        # The phases after this one are those of one process again.
        AcceleratorState._reset_state(reset_partial_state=True)
        for name in variables:
            os.environ.pop(name, None)


def apart(observer: Observer) -> AbstractContextManager[None]:
    """Return a block in which a process of a gang may do what the others do not; see `Together`."""
    return observer.apart() if isinstance(observer, Together) else nullcontext()


def by_first(observer: Observer, act: Callable[[], Result]) -> Result:
    """Return what `act` returns; in a gang the first process calls it, and all get that."""
    return observer.by_first(act) if isinstance(observer, Together) else act()


@dataclass(frozen=True)
class Failure:
    """What went wrong in a process that worked apart, as the others are told."""

    reason: str
    """Of a run that cannot succeed; empty for anything else."""
    message: str
    question: Question | None = None
    """What a person must decide first; None where nothing is asked."""
    is_memory: bool = False
    """Whether memory was not enough."""

    @classmethod
    def of(cls, error: BaseException) -> Failure | None:
        """Return what the others are told; None of one that only left off."""
        if isinstance(error, RunCancelled):
            return None
        if isinstance(error, RunFailed):
            return cls(error.reason, error.message)
        if isinstance(error, RunPaused):
            return cls("", str(error), error.question)
        text = f"{type(error).__name__}: {error}"[:2000]
        return cls("", text, is_memory=is_out_of_memory(error))

    def error(self) -> Exception:
        """Return what the first process raises for it."""
        if self.reason:
            return RunFailed(self.reason, self.message)
        if self.question is not None:
            return RunPaused(self.question)
        text = f"in another process of the run: {self.message}"
        return MemoryError(text) if self.is_memory else RuntimeError(text)


class Together:
    """The observer of a gang: the first process asks its own, the others do as that says."""

    def __init__(self, observer: Observer | None, control: Any, store: Any) -> None:
        """Keep what one process of a gang needs.

        Args:
            observer: Of the first process; None in the others.
            control: The group that talks.
            store: Where one that works apart leaves word that it has failed.
        """
        self._observer = observer
        self._control = control
        self._store = store
        self._is_apart = False
        self._apart_count = 0
        """Times that the processes have worked apart."""

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Work apart while the block runs; all processes enter it and wait for each other after it.

        Raises:
            BaseException: In the first process, what its block raised, else what another's did.
            RunCancelled: In the others, if any has failed.
        """
        self._is_apart = True
        self._apart_count += 1
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            self._store.set(self._word, "failed")
        finally:
            self._is_apart = False
        told: list[Any] = [None] * distributed.get_world_size(self._control)
        own = None if error is None else (Failure.of(error),)
        distributed.all_gather_object(told, own, group=self._control)
        if all(one is None for one in told):
            return
        if self._observer is None:
            raise RunCancelled from error
        found = [failure for one in told if one is not None and (failure := one[0]) is not None]
        if error is not None and own is not None and (own[0] or not found):
            raise error
        raise found[0].error()

    def by_first(self, act: Callable[[], Result]) -> Result:
        """Return what `act` returns in the first process; the others do not call it.

        Raises:
            BaseException: As `apart`.
        """
        found: list[Any] = [None]
        with self.apart():
            if self._observer is not None:
                found = [act()]
        distributed.broadcast_object_list(found, src=0, group=self._control)
        result: Result = found[0]
        return result

    def on_resolved(self, resolved: Resolved) -> None:
        """Take in what the settings have become; told before the first step."""
        self._decide(lambda observer: observer.on_resolved(resolved))

    def on_start(self, step: int, eval_losses: Mapping[int, float]) -> None:
        """Take in where it begins, and the evaluations before that by step."""
        self._decide(lambda observer: observer.on_start(step, eval_losses))

    def on_step(self, step: int) -> None:
        """Take in that so many optimizer steps are done."""
        if not self._is_apart:
            self._decide(lambda observer: observer.on_step(step))
            return
        if self._observer is not None:
            self._observer.on_step(step)
        if self._store.check([self._word]):
            raise RunCancelled

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

    @property
    def _word(self) -> str:
        return str(self._apart_count)

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
