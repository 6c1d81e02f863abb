"""The scheduler and the trainer as the planner meets them: real gRPC, simple answers."""

import asyncio
import json
from pathlib import Path

from attune.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from attune.spec.v1 import compute_pb2
from attune.trainer.v1 import (
    grader_pb2,
    grader_pb2_grpc,
    render_pb2,
    render_pb2_grpc,
    trainer_pb2,
    trainer_pb2_grpc,
)

from bench.objectives_servers import STARTER
from services.common.errors import NotFound, Unavailable
from services.common.rpc import Server


class FakeScheduler(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Estimates the same for every spec, and can be told that nothing is available."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.is_away = False
        self.requests: list[scheduler_pb2.EstimateComputeRequest] = []
        self.jobs: dict[str, scheduler_pb2.Job] = {}

    async def EstimateCompute(self, request, context):
        if self.is_away:
            raise Unavailable("Starting.", reason="STARTING")
        self.requests.append(request)
        plan = compute_pb2.ComputePlan(available=not self.missing, missing=self.missing)
        plan.expected_duration.FromSeconds(100)
        plan.stages.add(profile="cpu", device_count=1)
        return plan

    async def GetJob(self, request, context):
        if request.name not in self.jobs:
            raise NotFound(f"There is no job {request.name}.", reason="JOB_NOT_FOUND")
        return self.jobs[request.name]


class FakeRuns(trainer_pb2_grpc.TrainerServiceServicer):
    """Streams the curves that it is given, by run."""

    def __init__(self) -> None:
        self.curves: dict[str, list[tuple[int, dict[str, float]]]] = {}

    async def WatchRun(self, request, context):
        if request.name not in self.curves:
            raise NotFound(f"There is no run {request.name}.", reason="RUN_NOT_FOUND")
        for step, values in self.curves[request.name]:
            point = trainer_pb2.MetricPoint(step=step, values=values)
            yield trainer_pb2.WatchRunResponse(metrics=point)
        yield trainer_pb2.WatchRunResponse(run=trainer_pb2.Run(name=request.name, ended=True))


class FakeTrainer(render_pb2_grpc.RenderServiceServicer):
    """Counts a token for every four characters; knows the models it is given."""

    def __init__(self) -> None:
        self.models = [STARTER]
        self.batches: list[int] = []
        self.answers = asyncio.Event()
        """Cleared, it keeps every count waiting."""
        self.answers.set()

    async def ListLocalModels(self, request, context):
        return render_pb2.ListLocalModelsResponse(models=self.models)

    async def CountTokens(self, request, context):
        self.batches.append(len(request.rows))
        await self.answers.wait()
        answer = render_pb2.CountTokensResponse(
            context_length=STARTER.context_length, base_model_revision=STARTER.revision
        )
        for row in request.rows:
            body = json.loads(row)
            messages = body.get("messages") or [*body["prompt"], *body["chosen"]]
            total = sum(4 + len(each.get("content") or "") // 4 for each in messages)
            learnt = 1 + len(messages[-1]["content"]) // 4
            answer.counts.add(
                token_count=total,
                trainable_token_count=learnt,
                prompt_token_count=total - learnt,
                answer_token_count=learnt,
            )
        return answer

    async def RenderRows(self, request, context):
        answer = render_pb2.RenderRowsResponse(context_length=STARTER.context_length)
        for row in request.rows:
            words = [each["content"] for each in json.loads(row)["messages"]]
            answer.rows.add(text="\n".join(words), token_ids=range(len(words)), token_texts=words)
        return answer


class FakeGraders(grader_pb2_grpc.GraderServiceServicer):
    """Has a judge unless it is told otherwise."""

    def __init__(self) -> None:
        self.has_judge = True
        self.is_away = False

    async def GetJudge(self, request, context):
        if self.is_away:
            raise Unavailable("Starting.", reason="STARTING")
        return grader_pb2.GetJudgeResponse(is_set=self.has_judge)


class Peers:
    """Both servers on one port."""

    def __init__(self) -> None:
        self.scheduler = FakeScheduler()
        self.trainer = FakeTrainer()
        self.runs = FakeRuns()
        self.graders = FakeGraders()
        self._server = Server("peers.test")

    async def start(self) -> str:
        """Start and return the address."""
        self._server.add(
            scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
            self.scheduler,
            "attune.scheduler.v1.SchedulerService",
        )
        self._server.add(
            render_pb2_grpc.add_RenderServiceServicer_to_server,
            self.trainer,
            "attune.trainer.v1.RenderService",
        )
        self._server.add(
            trainer_pb2_grpc.add_TrainerServiceServicer_to_server,
            self.runs,
            "attune.trainer.v1.TrainerService",
        )
        self._server.add(
            grader_pb2_grpc.add_GraderServiceServicer_to_server,
            self.graders,
            "attune.trainer.v1.GraderService",
        )
        return f"127.0.0.1:{await self._server.start('127.0.0.1', 0)}"

    async def stop(self) -> None:
        await self._server.stop()


def a_row(question: str = "Where is my parcel?", answer: str = '{"team":"delivery"}') -> dict:
    """Return one good row."""
    return {
        "messages": [
            {"role": "system", "content": "Route the message."},
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def jsonl(rows: list) -> bytes:
    """Return rows as a file."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def some_rows(count: int, start: int = 0) -> bytes:
    """Return a file of different rows."""
    teams = ("delivery", "billing", "returns")
    return jsonl(
        [
            a_row(f"Question number {index}?", json.dumps({"team": teams[index % 3]}))
            for index in range(start, start + count)
        ]
    )


def files_under(folder: Path) -> list[Path]:
    """Return every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]
