"""Twenty random `kill -9` during journeys: lost requests, duplicate jobs, orphan processes.

A client that does what the API asks of it (the same request_id until there is an answer) starts
journeys one after another, while a random process is killed every few seconds: NATS, a service, the
engine, the supervisor, a run. Afterwards everything that was accepted must be there, once,
and no run may have repeated more steps than lie between two checkpoints.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psutil
from attune.planner.v1 import dataset_pb2, dataset_pb2_grpc, planner_pb2, planner_pb2_grpc
from attune.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from attune.serving.v1 import model_pb2, model_pb2_grpc
from attune.spec.v1 import spec_pb2
from google.protobuf.json_format import ParseDict

from bench.report import show, write
from bench.system import ROOT, System, a_system
from services.common import errors
from services.common.peers import call, channel, stream
from services.trainer.attempt import MESSAGES, METRICS, PROGRESS, Attempt, list_attempts
from services.trainer.run import Phase

PROJECT = "projects/default"
VICTIMS = ("planner", "scheduler", "trainer", "serving", "nats", "mlflow", "run", "supervisor")
ROWS = ROOT / "examples" / "support-tickets" / "train.jsonl"
ROW_COUNT = 300
"""Of a journey: a quarter of an epoch, and so a checkpoint interval, is several steps then."""
PATIENCE_S = 120.0
QUIET_S = 900.0
GOES_ON = re.compile(r"Goes on from the checkpoint of step (\d+)")
"""What a run says when it begins to train and has a checkpoint."""
FINAL = (
    scheduler_pb2.Job.STATE_SUCCEEDED,
    scheduler_pb2.Job.STATE_FAILED,
    scheduler_pb2.Job.STATE_CANCELLED,
)


@dataclass
class Ledger:
    """What the client was promised."""

    datasets: list[str] = field(default_factory=list)
    conversations: list[str] = field(default_factory=list)
    approved: list[tuple[str, int]] = field(default_factory=list)
    """Spec and revision."""
    kills: list[str] = field(default_factory=list)


async def patiently(method: Any, request: Any) -> Any:
    """Repeat a call until it is answered; a request_id makes that safe.

    Raises:
        ServiceError: What it was refused with, or that nobody answered for two minutes.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await call(method, request() if callable(request) else request, timeout_s=20)
        except (errors.Unavailable, errors.Cancelled, errors.DeadlineExceeded, errors.Internal):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.3)


class Client:
    """One well-behaved user."""

    def __init__(self, endpoints: dict[str, str], ledger: Ledger) -> None:
        """Connect to all services."""
        planner = channel(endpoints["planner"])
        self._datasets = dataset_pb2_grpc.DatasetServiceStub(planner)
        self._planner = planner_pb2_grpc.PlannerServiceStub(planner)
        self._jobs = scheduler_pb2_grpc.SchedulerServiceStub(channel(endpoints["scheduler"]))
        self._models = model_pb2_grpc.ModelServiceStub(channel(endpoints["serving"]))
        self._ledger = ledger

    async def journey(self, number: int) -> None:
        """Upload, ask, answer, approve; keep what was promised."""
        rows = ROWS.read_bytes().splitlines(keepends=True)
        content = b"".join(rows[number : number + ROW_COUNT])
        header = dataset_pb2.UploadHeader(
            parent=PROJECT, display_name=f"kill-{number}.jsonl", request_id=str(uuid4())
        )

        async def pieces() -> Any:
            yield dataset_pb2.UploadDatasetRequest(header=header)
            yield dataset_pb2.UploadDatasetRequest(chunk=content)

        dataset = await patiently(self._datasets.UploadDataset, pieces)
        self._ledger.datasets.append(dataset.name)
        created = planner_pb2.CreateConversationRequest(parent=PROJECT, request_id=str(uuid4()))
        conversation = await patiently(self._planner.CreateConversation, created)
        self._ledger.conversations.append(conversation.name)
        await self._say(conversation.name, dataset.name, "Route support tickets to JSON records.")
        turn = await self._say(conversation.name, dataset.name, "At least 80 percent, 2 epochs.")
        spec = await patiently(self._planner.GetSpec, planner_pb2.GetSpecRequest(name=turn.spec))
        approve = planner_pb2.ApproveSpecRequest(
            name=spec.name, hash=spec.hash, request_id=str(uuid4())
        )
        approved = await patiently(self._planner.ApproveSpec, approve)
        self._ledger.approved.append((approved.name, approved.approval.revision))

    async def _say(self, conversation: str, dataset: str, message: str) -> planner_pb2.Turn:
        request = planner_pb2.SendMessageRequest(
            conversation=conversation,
            message=message,
            datasets=[dataset],
            request_id=str(uuid4()),
        )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                async for answer in stream(self._planner.SendMessage, request, timeout_s=20):
                    if answer.HasField("turn"):
                        return answer.turn
            except (errors.Unavailable, errors.Cancelled, errors.DeadlineExceeded):
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.3)

    async def jobs(self) -> list[scheduler_pb2.Job]:
        """Return all jobs."""
        request = scheduler_pb2.ListJobsRequest(parent=PROJECT, page_size=1000)
        return list((await patiently(self._jobs.ListJobs, request)).jobs)

    async def audit(self) -> dict[str, int]:
        """Count what was promised and is not there, and what is there twice."""
        lost = 0
        for name in self._ledger.datasets:
            lost += await self._is_missing(
                self._datasets.GetDataset, dataset_pb2.GetDatasetRequest(name=name)
            )
        for name in self._ledger.conversations:
            lost += await self._is_missing(
                self._planner.GetConversation, planner_pb2.GetConversationRequest(name=name)
            )
        jobs = await self.jobs()
        wanted = set(self._ledger.approved)
        made = [(job.spec, job.spec_revision) for job in jobs]
        request = model_pb2.ListModelVersionsRequest(parent=f"{PROJECT}/models/-", page_size=1000)
        versions = (await patiently(self._models.ListModelVersions, request)).model_versions
        return {
            "lost requests": lost + len(wanted - set(made)),
            "duplicate jobs": len(made) - len(set(made)),
            "jobs that did not succeed": sum(
                job.state != scheduler_pb2.Job.STATE_SUCCEEDED for job in jobs
            ),
            "versions missing or doubled": abs(len({v.job for v in versions}) - len(jobs))
            + len(versions)
            - len({v.job for v in versions}),
        }

    async def _is_missing(self, method: Any, request: Any) -> int:
        try:
            await patiently(method, request)
        except errors.NotFound:
            return 1
        return 0


async def kill_now_and_then(system: System, ledger: Ledger, count: int, seed: int) -> None:
    """Kill one random process every few seconds, `count` times."""
    draw = random.Random(seed)
    while len(ledger.kills) < count:
        await asyncio.sleep(draw.uniform(2, 8))
        name = draw.choice(VICTIMS)
        if name == "supervisor":
            await asyncio.to_thread(restart_supervisor, system)
            ledger.kills.append(name)
            continue
        records = [
            path
            for path in (system.home / "run").glob("*.json")
            if path.stem == name or (name == "run" and path.stem.startswith("run-"))
        ]
        for path in records[:1]:
            try:
                psutil.Process(json.loads(path.read_text())["pid"]).kill()
                ledger.kills.append(name)
            except (OSError, ValueError, psutil.Error):
                continue


def restart_supervisor(system: System) -> None:
    """Kill the supervisor and start Attune again, which adopts what still lives."""
    record = json.loads((system.home / "run" / "supervisor.json").read_text())
    psutil.Process(record["pid"]).kill()
    system.run("up")


async def run(system: System, kill_count: int, seed: int) -> dict[str, Any]:
    """Make journeys under fire, wait for quiet, audit."""
    ledger = Ledger()
    client = Client(system.endpoints(), ledger)
    killer = asyncio.create_task(kill_now_and_then(system, ledger, kill_count, seed))
    number = 0
    while not killer.done():
        await client.journey(number)
        number += 1
        await asyncio.sleep(10)
    await killer
    deadline = time.monotonic() + QUIET_S
    while time.monotonic() < deadline:
        jobs = await client.jobs()
        done = [job for job in jobs if job.state in FINAL]
        if len(done) == len(jobs) >= len(ledger.approved) and not await unproved(client, jobs):
            break
        await asyncio.sleep(2)
    found = await client.audit()
    return {"kills": ledger.kills, "journeys": len(ledger.approved), **found}


async def unproved(client: Client, jobs: list[scheduler_pb2.Job]) -> bool:
    """Return whether a job that succeeded has no version yet."""
    audit = await client.audit()
    return bool(jobs) and audit["versions missing or doubled"] > 0


def resumed_runs(system: System) -> Iterator[dict[str, Any]]:
    """Yield what became of the steps of each attempt that ended within TRAIN."""
    for folder in sorted((system.home / "artefacts" / "runs").iterdir()):
        lost: Attempt | None = None
        for attempt in reversed(list_attempts(folder)):
            went_on = went_on_from(attempt)
            if lost is not None and went_on is not None:
                done = steps_of(lost)
                yield {
                    "run": f"{folder.name}, attempt {lost.fence}",
                    "steps done": done,
                    "gone on from": went_on,
                    "steps repeated": done - went_on,
                    "checkpoint interval": checkpoint_interval(attempt),
                }
            # One that ended before TRAIN has lost no steps, and goes on from none.
            if went_on is not None:
                lost = attempt if attempt.result(Phase.TRAIN) is None else None


def steps_of(attempt: Attempt) -> int:
    """Return the optimizer steps that an attempt has told of."""
    lines, _ = attempt.lines(PROGRESS, 0)
    points, _ = attempt.lines(METRICS, 0)
    done = [line["done"] for line in lines if line["phase"] == Phase.TRAIN]
    return max([*done, *(point["step"] for point in points)], default=0)


def went_on_from(attempt: Attempt) -> int | None:
    """Return the step from which an attempt trained; None if it did not come so far."""
    lines, _ = attempt.lines(MESSAGES, 0)
    said = [found for line in lines if (found := GOES_ON.search(line["text"]))]
    if said:
        return int(said[0][1])
    return 0 if attempt.resolved() is not None else None


def checkpoint_interval(attempt: Attempt) -> int:
    """Return the steps between two checkpoints of an attempt as it was planned."""
    manifest, checked = attempt.manifest(), attempt.result(Phase.VALIDATE)
    assert manifest is not None
    assert checked is not None
    stage = ParseDict(dict(manifest.spec), spec_pb2.Spec()).stages[manifest.stage_index]
    values = stage.hyperparameters
    steps = math.ceil(checked["train_row_count"] / values.effective_batch_size)
    return max(1, steps // values.evaluations_per_epoch)


def main() -> None:
    """Run it and print what was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=1, help="of victims and moments")
    arguments = parser.parse_args()
    with a_system() as system:
        system.run("up")
        found = asyncio.run(run(system, arguments.kills, arguments.seed))
        system.run("down")
        left = system.processes()
        found["orphan processes"] = len(left)
        found["resumed"] = list(resumed_runs(system))
    rows = [[key, value] for key, value in found.items() if key not in ("kills", "resumed")]
    show("After " + str(len(found["kills"])) + " kills", ["", "count"], rows)
    columns = ["steps done", "gone on from", "steps repeated", "checkpoint interval"]
    runs = [[one[name] for name in ("run", *columns)] for one in found["resumed"]]
    show("Runs that ended within TRAIN and went on", ["run", *columns], runs)
    write("kill", found)
    bad = ("lost requests", "duplicate jobs", "orphan processes")
    repeated = any(one["steps repeated"] > one["checkpoint interval"] for one in found["resumed"])
    raise SystemExit(1 if repeated or any(found[key] for key in bad) else 0)


if __name__ == "__main__":
    main()
