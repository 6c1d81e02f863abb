"""TrainerService: runs, read from the artefact root."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from attune.trainer.v1 import trainer_pb2 as pb
from attune.trainer.v1 import trainer_pb2_grpc

from services.common.artefacts import Artefacts
from services.common.clock import Clock
from services.common.errors import NotFound
from services.common.names import parse
from services.trainer import wire
from services.trainer.attempt import MESSAGES, METRICS, TRAINING_SAMPLES, Attempt, list_attempts
from services.trainer.run import Manifest

POLL_S = 0.25
"""Time between two looks at the files of a watched run; they belong to another process."""


class TrainerServicer(trainer_pb2_grpc.TrainerServiceServicer):
    """Answers from files; writes nothing."""

    def __init__(self, artefacts: Artefacts, clock: Clock) -> None:
        self._artefacts = artefacts
        self._clock = clock

    async def GetRun(self, request: pb.GetRunRequest, context: Any) -> pb.Run:
        attempt, manifest = await asyncio.to_thread(self._newest, request.name)
        return wire.run_to_proto(attempt, manifest, self._clock.now())

    async def WatchRun(
        self, request: pb.WatchRunRequest, context: Any
    ) -> AsyncIterator[pb.WatchRunResponse]:
        attempt, manifest = await asyncio.to_thread(self._newest, request.name)
        offsets = {METRICS: 0, MESSAGES: 0, TRAINING_SAMPLES: 0}
        shown: tuple[object, ...] | None = None
        while True:
            # Before the lists: whatever was written before the end is then shown.
            run = wire.run_to_proto(attempt, manifest, self._clock.now())
            state = (run.progress.phase, run.progress.done_count, len(run.phases), run.mlflow_run)
            if (*state, run.ended) != shown:
                shown = (*state, run.ended)
                if not run.ended:
                    yield pb.WatchRunResponse(run=run)
            for line in _new_lines(attempt, METRICS, offsets):
                yield pb.WatchRunResponse(metrics=wire.metrics_to_proto(line))
            for line in _new_lines(attempt, MESSAGES, offsets):
                yield pb.WatchRunResponse(message=line["text"])
            for line in _new_lines(attempt, TRAINING_SAMPLES, offsets):
                yield pb.WatchRunResponse(sample=wire.sample_to_proto(line))
            if run.ended:
                yield pb.WatchRunResponse(run=run)
                return
            await asyncio.sleep(POLL_S)

    def _newest(self, name: str) -> tuple[Attempt, Manifest]:
        run_id = parse(name, wire.RUN_PATTERN)["run"]
        for attempt in list_attempts(self._artefacts.run(run_id)):
            manifest = attempt.manifest()
            if manifest is not None and manifest.run == name:
                return attempt, manifest
        raise NotFound(
            f"There is no run {name} here, or it has not started. List the jobs for their runs.",
            reason="RUN_NOT_FOUND",
            run=name,
        )


def _new_lines(attempt: Attempt, name: str, offsets: dict[str, int]) -> list[dict[str, Any]]:
    lines, offsets[name] = attempt.lines(name, offsets[name])
    return list(lines)
