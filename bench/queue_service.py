"""A scheduler's parts on a database of their own, with a long queue, for `bench/queue.py`."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Self
from uuid import uuid4

from attune.scheduler.v1.scheduler_pb2 import DataShape
from attune.scheduler.v1.worker_pb2 import Device, Node
from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.spec_pb2 import Spec
from attune.spec.v1.stage_pb2 import Method, Technique
from sqlalchemy import insert

from services.common.clock import SystemClock
from services.common.database import Database
from services.scheduler.account import Shares
from services.scheduler.approval import new_job
from services.scheduler.board import Board
from services.scheduler.catalogue import read_catalogue
from services.scheduler.changes import Changes
from services.scheduler.desk import Desk
from services.scheduler.node_store import NodeStore
from services.scheduler.observation_store import ObservationStore
from services.scheduler.row_store import JOBS, row_of
from services.scheduler.store import MIGRATIONS, JobStore
from services.scheduler.usage_store import UsageStore

MODEL = "Qwen/Qwen3-8B"
CARDS = ("l4-24gb", "a100-80gb")
NODES = 500
GIB = 1024**3
PROJECTS = 50
AHEAD = timedelta(hours=1)
"""So far ahead are the nodes' heartbeats, that they live for the whole run."""


class Service:
    """Everything but servers and loops."""

    def __init__(self, database: Database, board: Board, desk: Desk) -> None:
        """Keep the parts."""
        self._database = database
        self._board = board
        self._desk = desk

    @classmethod
    async def start(cls, folder: Path, job_count: int) -> Self:
        """Make the database with its queue and its nodes."""
        database, clock = (
            Database(f"sqlite+aiosqlite:///{folder / 'q.db'}", MIGRATIONS),
            SystemClock(),
        )
        await database.migrate()
        changes, jobs, nodes = Changes(database), JobStore(database), NodeStore(database)
        catalogue = read_catalogue()
        usage = UsageStore(database)
        observations = ObservationStore(database)
        board = Board(jobs, nodes, usage, observations, changes, catalogue, Shares(), clock)
        now = clock.now()
        rows = [
            row_of(
                replace(
                    new_job(a_spec(index), "j00000", now),
                    name=f"projects/team-{index % PROJECTS}/jobs/j{index:05d}",
                    spec=f"projects/team-{index % PROJECTS}/specs/s{index:05d}",
                )
            )
            for index in range(job_count)
        ]
        async with database.write() as connection:
            await connection.execute(insert(JOBS), rows)
        shape = catalogue.shapes[MODEL]
        profiles = [name for name in CARDS if name in catalogue.profiles] or ["cpu"]
        for index in range(NODES):
            await nodes.put(a_node(index, profiles[index % len(profiles)], shape), now + AHEAD)
        return cls(database, board, Desk(jobs, nodes, board, changes, catalogue, clock))

    async def look_until_all_are_placed(self) -> float:
        """Return the seconds until a view knows every job, from nothing."""
        begin_s = time.perf_counter()
        while True:
            view = await self._board.look(fresh=True)
            if not view.unplaced:
                return time.perf_counter() - begin_s

    async def look(self) -> tuple[float, float]:
        """Return the seconds that a view takes, and those of processor time."""
        begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
        await self._board.look(fresh=True)
        return time.perf_counter() - begin_s, time.process_time() - begin_cpu_s

    async def estimate(self) -> tuple[float, float]:
        """Return the seconds that an estimate takes, and those of processor time."""
        spec = a_spec(1)
        begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
        await self._desk.estimate(spec, DataShape())
        return time.perf_counter() - begin_s, time.process_time() - begin_cpu_s

    async def close(self) -> None:
        """Close the database."""
        await self._database.close()


def a_spec(number: int) -> Spec:
    """Return an approved plan of ordinary size."""
    spec = Spec(name=f"projects/team/specs/s{number}", state=Spec.STATE_APPROVED)
    spec.base_model.id = MODEL
    # No two are alike, so that none is placed for another.
    spec.data.train_row_count, spec.data.holdout_row_count = 2_000 + number, 200
    stage = spec.stages.add(technique=Technique.TECHNIQUE_SFT, method=Method.METHOD_LORA)
    values = stage.hyperparameters
    values.learning_rate, values.epoch_count = 2e-4, 2
    values.effective_batch_size, values.max_length = 16, 1024
    values.evaluations_per_epoch = 2
    values.lora.rank, values.lora.alpha = 16, 32
    values.lora.target_modules.append("all-linear")
    spec.evaluation.max_answer_tokens = 64
    spec.approval.revision = 1
    spec.approval.canonical_spec = b"canonical"
    spec.approval.hash = sha256(b"canonical").hexdigest()
    spec.approval.approve_time.FromDatetime(datetime.now(UTC))
    return spec


def a_node(index: int, profile: str, shape: ModelShape) -> Node:
    """Return a machine with one card."""
    return Node(
        id=f"node-{index:03d}",
        instance=str(uuid4()),
        devices=[Device(profile=profile, memory_bytes=(22 if profile == CARDS[0] else 79) * GIB)],
        core_count=8,
        engines=["local"],
        techniques=[Technique.TECHNIQUE_SFT],
        methods=[Method.METHOD_LORA],
        base_models=[shape],
        free_slot_count=int(index % 20 == 0),
    )
