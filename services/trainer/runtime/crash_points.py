"""Named places at which a run may die, so that tests kill it at each one; nothing otherwise."""

from __future__ import annotations

import os
import signal
from collections import Counter
from enum import StrEnum

VARIABLE = "ATTUNE_CRASH_AT"
"""`point`, or `point:n` for the n-th time that it is reached; unset in any real run."""


class CrashPoint(StrEnum):
    """Every named place, in the order in which a run passes them."""

    VALIDATE_CHECKED = "validate.checked"
    VALIDATE_WRITTEN = "validate.written"
    BASELINE_ANSWERED = "baseline.answered"
    BASELINE_WRITTEN = "baseline.written"
    TRAIN_PLANNED = "train.planned"
    TRAIN_STEP = "train.step"
    TRAIN_EVALUATED = "train.evaluated"
    CHECKPOINT_TAKEN = "train.checkpoint.taken"
    """The trainer library has written its folder."""
    CHECKPOINT_STAGED = "train.checkpoint.staged"
    """The folder is beside its place, without a manifest."""
    CHECKPOINT_SEALED = "train.checkpoint.sealed"
    """Its manifest is written, its name is still the temporary one."""
    CHECKPOINT_RENAMED = "train.checkpoint.renamed"
    CHECKPOINT_PRUNED = "train.checkpoint.pruned"
    """Older ones are gone."""
    TRAIN_ENDED = "train.ended"
    TRAIN_WRITTEN = "train.written"
    EVALUATE_ANSWERED = "evaluate.answered"
    EVALUATE_WRITTEN = "evaluate.written"
    REGISTER_COPIED = "register.copied"
    """Weights and configuration are staged, without a manifest."""
    REGISTER_SEALED = "register.sealed"
    REGISTER_PUBLISHED = "register.published"
    REGISTER_WRITTEN = "register.written"


_reached: Counter[str] = Counter()


def reach(point: CrashPoint) -> None:
    """Die here, as by `kill -9`, when the environment asks for it; otherwise do nothing.

    Raises:
        ValueError: If the environment names no such point.
    """
    asked = os.environ.get(VARIABLE)
    if asked is None:
        return
    name, _, number = asked.partition(":")
    if CrashPoint(name) is not point:
        return
    _reached[name] += 1
    if _reached[name] == int(number or 1):
        os.kill(os.getpid(), signal.SIGKILL)
