"""Runs of four steps, changed on purpose before they begin, in processes forked from a warm server.

What is changed is changed in the run's own process: a hook is called there before `main`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from attune.spec.v1.compute_pb2 import StageCompute
from attune.spec.v1.spec_pb2 import Spec

from services.common.artefacts import Artefacts, read_manifest
from services.trainer.attempt import Attempt
from services.trainer.phases.register import WEIGHTS
from services.trainer.run import Phase
from services.trainer.runtime.crash_points import VARIABLE
from tests.trainer import tiny, tiny_rl

JOIN_S = 120.0


class ShortRuns:
    """Attempts at runs of one spec, supervised unless another is given."""

    def __init__(
        self, root: Path, saved_model: Path, make: Callable[[Artefacts, str], Spec] | None = None
    ) -> None:
        self.root = root
        self.artefacts = Artefacts(root / "artefacts")
        self.spec = (make or supervised)(
            self.artefacts, tiny.put_model(self.artefacts, saved_model)
        )

    def begin(
        self,
        job: str,
        fence: int,
        *,
        crash_at: str = "",
        hook: Callable[..., None] | None = None,
        arguments: tuple[Any, ...] = (),
        placement: StageCompute | None = None,
        waived_reasons: tuple[str, ...] = (),
    ) -> tuple[Attempt, Any, Connection]:
        """Start an attempt; returns it, its process and our end of its pipe."""
        manifest = tiny.a_manifest(
            self.root, self.spec, fence, placement, job=job, waived_reasons=waived_reasons
        )
        folder = self.artefacts.attempt(manifest.run_id, fence)
        attempt = Attempt.create(folder, manifest)
        context = get_context("forkserver")
        ours, theirs = context.Pipe(duplex=True)
        process = context.Process(target=_execute, args=(folder, crash_at, hook, arguments, theirs))
        process.start()
        theirs.close()
        return attempt, process, ours

    def finish(self, job: str, fence: int, **changes: Any) -> tuple[Attempt, int]:
        """Execute an attempt to its end; returns it and its exit code."""
        attempt, process, ours = self.begin(job, fence, **changes)
        process.join(JOIN_S)
        ours.close()
        assert process.exitcode is not None
        return attempt, process.exitcode

    def weights_sha256(self, attempt: Attempt) -> str:
        """Return the hash of the weights that a finished run has published."""
        folder = self.artefacts.adapter(attempt.result(Phase.REGISTER)["adapter_sha256"])
        assert read_manifest(folder) is not None
        return sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def supervised(artefacts: Artefacts, revision: str) -> Spec:
    """Return four steps on demonstrations, with a checkpoint after each."""
    train = tiny.put_rows(artefacts, tiny.rows(36))
    holdout = tiny.put_rows(artefacts, tiny.rows(4))
    return shortened(
        tiny.a_spec(revision, train, holdout, epoch_count=1.0, evaluations_per_epoch=4)
    )


def preferring(artefacts: Artefacts, revision: str) -> Spec:
    """Return the same on pairs."""
    train = tiny.put_rows(artefacts, tiny.pairs(36))
    holdout = tiny.put_rows(artefacts, tiny.pairs(4))
    return shortened(
        tiny.a_preference_spec(revision, train, holdout, epoch_count=1.0, evaluations_per_epoch=4)
    )


def reinforced(artefacts: Artefacts, revision: str) -> Spec:
    """Return the same on rewarded answers; for the model that can answer in two ways."""
    train = tiny.put_rows(artefacts, tiny_rl.prompts(held_out=False))
    holdout = tiny.put_rows(artefacts, tiny_rl.prompts(held_out=True)[:4])
    return shortened(
        tiny_rl.a_spec(revision, train, holdout, epoch_count=1.0, evaluations_per_epoch=4)
    )


def shortened(spec: Spec) -> Spec:
    """Leave out of a spec what only takes time."""
    # So that a wrong random state after resuming would show in the weights.
    spec.stages[0].hyperparameters.lora.dropout = 0.2
    spec.evaluation.max_answer_tokens = 2
    spec.evaluation.bootstrap_resample_count = 100
    return tiny.approved(spec)


def _execute(
    folder: Path,
    crash_at: str,
    hook: Callable[..., None] | None,
    arguments: tuple[Any, ...],
    connection: Connection,
) -> None:
    from services.trainer import run_process

    os.environ.pop(VARIABLE, None)
    if crash_at:
        os.environ[VARIABLE] = crash_at
    if hook is not None:
        hook(*arguments)
    run_process.main(folder, connection)
