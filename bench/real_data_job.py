"""One set of real data through the product: upload, plan, edit, approve, wait, report."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from attune.planner.v1 import planner_pb2
from attune.scheduler.v1.scheduler_pb2 import Job
from attune.spec.v1 import spec_pb2
from attune.spec.v1.stage_pb2 import Technique

from bench.real_data_sets import DataSet
from bench.system import System
from bench.training import job_of
from cli.client import Client
from cli.endpoints import Endpoints
from services.common.peers import call


@dataclass(frozen=True)
class Trained:
    """What came of one set."""

    techniques: list[str]
    """Of the stages, in order."""
    report: dict[str, Any]
    """The evaluation report of the last stage, as JSON."""
    folder: Path
    """Of the last stage's last attempt."""
    left_out_count: int
    """Training rows that leak the hold-out."""
    seconds: float
    """From the upload to the report."""


def train(system: System, one: DataSet, data: Path, row_count_max: int) -> Trained:
    """Run one set and return what came of it.

    Raises:
        SystemExit: If a command is refused, or the job has no result.
    """
    begin = time.monotonic()
    dataset, left_out_count = _upload(system, one, data, row_count_max)
    spec = system.json("spec", "propose", "--dataset", dataset, "--objective", one.objective)
    plan, job = asyncio.run(_trained(system, one, spec["name"]))
    report = system.json("job", "report", job.name)
    attempts = (system.home / "artefacts" / "runs" / job.run.rsplit("/", 1)[1]).iterdir()
    return Trained(
        techniques=[
            Technique.Name(stage.technique).removeprefix("TECHNIQUE_") for stage in plan.stages
        ],
        report=report,
        folder=max(attempts),
        left_out_count=left_out_count,
        seconds=round(time.monotonic() - begin, 1),
    )


def _upload(system: System, one: DataSet, data: Path, row_count_max: int) -> tuple[str, int]:
    """Upload the rows without those that stand in the hold-out as well, as the report finds them.

    Returns:
        The dataset's name, and how many rows were left out: official splits have a few of them.
    """
    train, holdout = one.lines(data, row_count_max)
    rows, unseen = system.home / "train.jsonl", system.home / "holdout.jsonl"
    rows.write_text("".join(train), encoding="utf-8")
    unseen.write_text("".join(holdout), encoding="utf-8")
    # A row that leaks is an error of the dataset, and the command then ends with 1.
    upload = ("dataset", "upload", str(rows), "--holdout", str(unseen), "--json")
    stored = json.loads(system.run(*upload, check=False).stdout)
    findings = stored["report"].get("findings", [])
    leaked = {int(each["line"]) for each in findings if each["code"].startswith("train_test_")}
    if leaked:
        kept = [line for at, line in enumerate(train, 1) if at not in leaked]
        rows.write_text("".join(kept), encoding="utf-8")
        stored = json.loads(system.run(*upload).stdout)
    return stored["name"], len(leaked)


async def _trained(system: System, one: DataSet, name: str) -> tuple[spec_pb2.Spec, Job]:
    """Set what an expert would in a plan, approve it, and return it with its job's end.

    Raises:
        SystemExit: If the job has no result.
    """
    async with Client(Endpoints(**system.endpoints())) as client:
        spec = await call(client.planner.GetSpec, planner_pb2.GetSpecRequest(name=name))
        if paths := one.edit(spec):
            request = planner_pb2.UpdateSpecRequest(spec=spec, request_id=str(uuid4()))
            request.update_mask.paths.extend(paths)
            spec = await call(client.planner.UpdateSpec, request)
        approve = planner_pb2.ApproveSpecRequest(name=name, hash=spec.hash, request_id=str(uuid4()))
        await call(client.planner.ApproveSpec, approve)
        return spec, await job_of(client, name)
