"""TRAIN in a process that follows: the same recipe on its share of the rows, and nothing else."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

from services.trainer.attempt import SCRATCH
from services.trainer.gang import Gang, Meeting
from services.trainer.phases.train import plan_of
from services.trainer.recipes import RECIPES
from services.trainer.recipes.together import joined
from services.trainer.recipes.training import Train
from services.trainer.run import Phase
from services.trainer.runtime.run_context import RunContext

POLL_S = 0.1
"""Time between two looks for the meeting, which lies on storage that other machines write to."""


def follow(context: RunContext, gang: Gang) -> None:
    """Wait until the first process trains, train with it, and stop when it does.

    It ends when its pipe closes, should the first process never come to train.
    """
    attempt = context.attempt.folder.parent
    context.begin(Phase.TRAIN)
    # Read and tokenized while the first process checks and measures.
    rows = len(context.train_examples) + len(context.validation_examples)
    context.attempt.say(f"Has read {rows} rows and waits for the first process.")
    while (meeting := Meeting.find(attempt)) is None:
        context.check()
        time.sleep(POLL_S)  # Another process writes it, perhaps on another machine.
    resume_from = Path(meeting.resume_from) if meeting.resume_from else None
    training = plan_of(context, attempt / SCRATCH, resume_from)
    recipe: Train = importlib.import_module(RECIPES[context.stage.technique]).train
    with joined(gang, meeting, None, cuda=context.use_cuda) as observer:
        recipe(training, observer)
