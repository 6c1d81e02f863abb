"""TrainerService: runs, read from the artefact root, and adapters merged there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from attune.trainer.v1 import trainer_pb2 as pb
from attune.trainer.v1 import trainer_pb2_grpc

from services.common.artefacts import Artefacts
from services.common.clock import Clock
from services.common.errors import FailedPrecondition, NotFound, Violation, invalid
from services.common.names import parse
from services.trainer import wire
from services.trainer.attempt import (
    MESSAGES,
    METRICS,
    TRAINING_SAMPLES,
    Attempt,
    find_page,
    list_attempts,
)
from services.trainer.fork_server import ForkServer
from services.trainer.run import Manifest, Phase

MERGE = "services.trainer.models.merge"
"""Module that merges; it imports torch, so this process never does."""
SHA256 = re.compile(r"[0-9a-f]{64}")
POLL_S = 0.25
"""Time between two looks at the files of a watched run; they belong to another process."""


class TrainerServicer(trainer_pb2_grpc.TrainerServiceServicer):
    """Answers from files; has adapters merged by a process of their own."""

    def __init__(self, artefacts: Artefacts, clock: Clock, forks: ForkServer) -> None:
        self._artefacts = artefacts
        self._clock = clock
        self._forks = forks

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

    async def MergeAdapter(
        self, request: pb.MergeAdapterRequest, context: Any
    ) -> pb.MergeAdapterResponse:
        if not SHA256.fullmatch(request.adapter_sha256):
            text = f"'{request.adapter_sha256[:80]}' is not 64 lower-case hex digits. Correct it."
            raise invalid([Violation("adapter_sha256", "SHA256", text)])
        made = await self._forks.once(
            MERGE, "merge_adapter", self._artefacts.root, request.adapter_sha256
        )
        return pb.MergeAdapterResponse(**made)

    async def GetReport(self, request: pb.GetReportRequest, context: Any) -> pb.RunReport:
        return await asyncio.to_thread(self._report, request.name)

    def _report(self, name: str) -> pb.RunReport:
        newest, _ = self._newest(name)
        page = find_page(newest.folder.parent)
        tuned = None if page is None else page.result(Phase.EVALUATE)
        if page is None or tuned is None:
            raise FailedPrecondition(
                f"{name} has not been evaluated. Wait until its phase EVALUATE has ended; a run "
                "that failed before has no report.",
                reason="RUN_NOT_EVALUATED",
                run=name,
            )
        return wire.report_to_proto(name, page, tuned["report"])

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
