"""One set of real data through the product: upload, plan, edit, approve, wait, report."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from attune.planner.v1 import planner_pb2, planner_pb2_grpc

from bench.real_data_sets import DataSet
from bench.system import System
from services.common.peers import call, channel

JOB_POLL_S = 0.5
JOB_POLLS_MAX = 90


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
    spec = asyncio.run(_edit(system, one, spec["name"]))
    system.run("spec", "approve", spec["name"], "--hash", spec["hash"])
    job = _ended(system, spec["name"])
    report = system.json("job", "report", job["name"])
    attempts = (system.home / "artefacts" / "runs" / job["run"].rsplit("/", 1)[1]).iterdir()
    return Trained(
        techniques=spec["techniques"],
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


async def _edit(system: System, one: DataSet, name: str) -> dict[str, Any]:
    """Set what an expert would in a plan and return its name, hash and techniques."""
    connection = channel(system.endpoints()["planner"])
    planner = planner_pb2_grpc.PlannerServiceStub(connection)
    spec = await call(planner.GetSpec, planner_pb2.GetSpecRequest(name=name))
    if paths := one.edit(spec):
        request = planner_pb2.UpdateSpecRequest(spec=spec, request_id=str(uuid4()))
        request.update_mask.paths.extend(paths)
        spec = await call(planner.UpdateSpec, request)
    await connection.close()
    techniques = [stage.DESCRIPTOR.fields_by_name["technique"].enum_type.values_by_number[
        stage.technique].name.removeprefix("TECHNIQUE_") for stage in spec.stages]  # fmt: skip
    return {"name": spec.name, "hash": spec.hash, "techniques": techniques}


def _ended(system: System, spec: str) -> dict[str, Any]:
    """Return the job of a spec when it has succeeded.

    Raises:
        SystemExit: If there is none within 45 s, or it ends otherwise or asks something.
    """
    for _ in range(JOB_POLLS_MAX):
        jobs = [job for job in system.json("job", "list").get("jobs", []) if job["spec"] == spec]
        if jobs:
            break
        time.sleep(JOB_POLL_S)
    else:
        raise SystemExit(f"{spec} was approved and has no job")
    watched = system.run("job", "watch", jobs[0]["name"], "--json", check=False)
    if watched.returncode != 0:
        raise SystemExit(f"{jobs[0]['name']}: {watched.stderr}")
    ended: dict[str, Any] = json.loads(watched.stdout.splitlines()[-1])
    return ended
