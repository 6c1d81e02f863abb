"""GraderService: the graders of runs, for everyone else."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import Any

from attune.spec.v1.grader_pb2 import Grader
from attune.trainer.v1 import grader_pb2 as pb
from attune.trainer.v1 import grader_pb2_grpc

from services.trainer import wire_grader
from services.trainer.grading.build import build
from services.trainer.grading.preflight import preflight
from services.trainer.grading.sample import Grade, Graded, Sample
from services.trainer.settings import JudgeSettings

BUILT_MAX = 16
"""Graders that are kept ready, for those with code have an interpreter each."""
AT_ONCE_MAX = 4
"""Batches that are graded at one time; others wait, within their deadlines."""


class GraderServicer(grader_pb2_grpc.GraderServiceServicer):
    """Grades beside the event loop; keeps the graders that were asked for last."""

    def __init__(self) -> None:
        self._built: OrderedDict[bytes, Grade] = OrderedDict()
        self._slots = asyncio.Semaphore(AT_ONCE_MAX)

    async def RunGrader(self, request: pb.RunGraderRequest, context: Any) -> pb.RunGraderResponse:
        most = wire_grader.run_count_max(request.grader)
        samples = wire_grader.samples_from_request(request.samples, most)
        async with self._slots:
            grade = await self._ready(request.grader)
            graded, execution_s = await asyncio.to_thread(_timed, grade, samples)
        return wire_grader.graded_to_proto(request.grader, graded, execution_s)

    async def ValidateGrader(
        self, request: pb.ValidateGraderRequest, context: Any
    ) -> pb.ValidateGraderResponse:
        graders = [request.grader, *([request.other] if request.HasField("other") else [])]
        most = wire_grader.validate_count_max(*graders)
        samples = wire_grader.samples_from_request(request.samples, most)
        async with self._slots:
            grades = [await self._ready(grader) for grader in graders]
            # Asked anew: what a judge is remembered to have said would never change.
            again = await asyncio.to_thread(build, request.grader, fresh=True)
            found = await asyncio.to_thread(
                preflight,
                request.grader.name,
                grades[0],
                samples,
                again=again,
                other=grades[1] if len(grades) > 1 else None,
            )
        return wire_grader.preflight_to_proto(found)

    async def GetJudge(self, request: pb.GetJudgeRequest, context: Any) -> pb.GetJudgeResponse:
        return pb.GetJudgeResponse(is_set=bool(JudgeSettings.of_environment().base_url))

    async def _ready(self, grader: Grader) -> Grade:
        key = grader.SerializeToString(deterministic=True)
        if key not in self._built:
            self._built[key] = await asyncio.to_thread(build, grader)
        self._built.move_to_end(key)
        grade = self._built[key]
        while len(self._built) > BUILT_MAX:
            self._built.popitem(last=False)
        return grade


def _timed(grade: Grade, samples: list[Sample]) -> tuple[list[Graded], float]:
    begin_s = time.perf_counter()
    return grade(samples), time.perf_counter() - begin_s
