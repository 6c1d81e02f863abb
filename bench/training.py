"""One training as a job of a whole Attune, and what it took. Used by two benches."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from attune.planner.v1 import planner_pb2
from attune.scheduler.v1 import scheduler_pb2
from attune.spec.v1 import spec_pb2
from google.protobuf.json_format import MessageToDict, ParseDict

from bench.judge import a_judge
from bench.system import System, a_system
from bench.techniques import CASES, Case
from cli.client import Client
from cli.endpoints import Endpoints
from services.common.peers import call

PROJECT = "projects/default"
SENTENCE = "Route our customers' support tickets to JSON records of team, product and priority."
JUDGE_VARIABLE = "ATTUNE_JUDGE_BASE_URL"
EPOCHS = "stages.0.hyperparameters.epoch_count"
STEPS_MAX = "stages.0.hyperparameters.max_step_count"
JOB_TIMEOUT_S = 1800
CALL_TIMEOUT_S = 120
POLL_S = 0.5
ENDED = (
    scheduler_pb2.Job.STATE_FAILED,
    scheduler_pb2.Job.STATE_CANCELLED,
    scheduler_pb2.Job.STATE_PAUSED,
)
"""States in which a job gives no times."""


@dataclass(frozen=True)
class JobTimes:
    """What one job took, from its own files."""

    folder: Path
    """Of the attempt."""
    approve_to_first_step_s: float
    """Commit of the approval to the end of the first optimizer step."""
    checks_s: float
    """Of those, inside VALIDATE and BASELINE."""
    train_s: float
    """Inside TRAIN."""
    step_count: int
    """Optimizer steps that it did."""


class Jobs:
    """Makes jobs of one technique, each approved anew, all on the same rows."""

    def __init__(self, system: System, case: Case) -> None:
        """Upload the rows."""
        self._system = system
        self._case = case
        with tempfile.TemporaryDirectory() as folder:
            rows, holdout = case.files(Path(folder))
            stored = system.json("dataset", "upload", str(rows), "--holdout", str(holdout))
        self._dataset: str = stored["name"]

    def run(self, *, epochs: float | None = None, steps_max: int | None = None) -> JobTimes:
        """Plan, approve and run one job, and return its times.

        Args:
            epochs: Passes over the rows; those of the case when left out.
            steps_max: Optimizer steps after which it ends; all when left out.

        Raises:
            SystemExit: If the job does not succeed.
        """
        changes = {**self._case.changes, EPOCHS: epochs or self._case.epochs}
        if steps_max is not None:
            changes[STEPS_MAX] = steps_max
        approved, job = asyncio.run(self._approved_and_run(changes))
        runs = self._system.home / "artefacts" / "runs"
        folder = max((runs / job.run.rsplit("/", 1)[1]).iterdir())
        approve_s = approved.approval.approve_time.ToNanoseconds() / 1e9
        return job_times(folder, approve_s)

    async def _approved_and_run(
        self, changes: dict[str, Any]
    ) -> tuple[spec_pb2.Spec, scheduler_pb2.Job]:
        async with Client(Endpoints(**self._system.endpoints())) as client:
            proposed = await call(
                client.planner.ProposeSpec,
                planner_pb2.ProposeSpecRequest(
                    parent=PROJECT,
                    datasets=[self._dataset],
                    objective=SENTENCE,
                    request_id=str(uuid4()),
                ),
                timeout_s=CALL_TIMEOUT_S,
            )
            update = planner_pb2.UpdateSpecRequest(
                spec=changed(proposed, changes), request_id=str(uuid4())
            )
            update.update_mask.paths.extend(changes)
            spec = await call(client.planner.UpdateSpec, update, timeout_s=CALL_TIMEOUT_S)
            approve = planner_pb2.ApproveSpecRequest(
                name=spec.name, hash=spec.hash, request_id=str(uuid4())
            )
            approved = await call(client.planner.ApproveSpec, approve, timeout_s=CALL_TIMEOUT_S)
            return approved, await job_of(client, approved.name)


def changed(spec: spec_pb2.Spec, changes: dict[str, Any]) -> spec_pb2.Spec:
    """Return a spec with other values.

    Args:
        spec: As it was proposed.
        changes: Field path, entries by position, to the value as JSON has it.
    """
    values: dict[str, Any] = MessageToDict(spec, preserving_proto_field_name=True)
    for path, value in changes.items():
        *parents, last = path.split(".")
        here: Any = values
        for part in parents:
            here = here[int(part)] if part.isdecimal() else here.setdefault(part, {})
        here[last] = value
    return ParseDict(values, spec_pb2.Spec())


async def job_of(client: Client, spec: str) -> scheduler_pb2.Job:
    """Return the job of a spec when it has succeeded.

    It is asked for in this process: a command every few seconds would be measured as well.

    Raises:
        SystemExit: If it ends otherwise or asks something, or not within half an hour.
    """
    async with asyncio.timeout(JOB_TIMEOUT_S):
        while True:
            request = scheduler_pb2.ListJobsRequest(parent=PROJECT, page_size=1000)
            listed = await call(client.scheduler.ListJobs, request)
            for job in listed.jobs:
                if job.spec == spec and job.state == scheduler_pb2.Job.STATE_SUCCEEDED:
                    return job
                if job.spec == spec and job.state in ENDED:
                    raise SystemExit(f"{job.name}: {job.state_reason} {job.error.message}")
            await asyncio.sleep(POLL_S)


def job_times(folder: Path, approve_time: float) -> JobTimes:
    """Return the times in an attempt's files."""
    begun: dict[int, float] = {}
    spent: dict[int, float] = {}
    for line in (folder / "phases.jsonl").read_text().splitlines():
        entry = json.loads(line)
        at = moment(entry["time"])
        if entry["event"] == "begin":
            begun[entry["phase"]] = at
        else:
            spent[entry["phase"]] = at - begun[entry["phase"]]
    points = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    # Where answers are rewarded, an evaluation comes before the first step.
    first = next(point for point in points if point["step"] >= 1)
    from services.trainer.attempt import Attempt
    from services.trainer.run import Phase

    result = Attempt(folder).result(Phase.TRAIN)
    assert result is not None
    return JobTimes(
        folder=folder,
        approve_to_first_step_s=moment(first["time"]) - approve_time,
        checks_s=spent[Phase.VALIDATE] + spent[Phase.BASELINE],
        train_s=spent[Phase.TRAIN],
        step_count=result["step_count"],
    )


def moment(text: str) -> float:
    """Return an ISO time as seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


@contextmanager
def a_measured_system() -> Iterator[System]:
    """Yield a system that is up, beside a judge that answers at once."""
    before = os.environ.get(JUDGE_VARIABLE)
    with a_judge() as url, a_system() as system:
        os.environ[JUDGE_VARIABLE] = url
        try:
            system.run("up")
            yield system
        finally:
            os.environ.pop(JUDGE_VARIABLE)
            if before is not None:
                os.environ[JUDGE_VARIABLE] = before


def stop_serving(system: System) -> None:
    """End serving and its engine for good, by ending first who would restart them."""
    for name in ("supervisor", "serving", "engine"):
        record = json.loads((system.home / "run" / f"{name}.json").read_text())
        os.killpg(record["pid"], 9)


def chosen_cases(description: str, default: tuple[str, ...]) -> list[Case]:
    """Read the command line of a bench that takes techniques, and return its cases.

    Args:
        description: Of the bench.
        default: What is measured when none is named.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--technique",
        choices=tuple(CASES),
        action="append",
        help=f"what to measure; may be repeated; default: {', '.join(default)}",
    )
    named = parser.parse_args().technique or default
    return [case for name, case in CASES.items() if name in named]
