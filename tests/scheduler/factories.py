"""Specs, nodes, jobs and clocks for the scheduler's tests."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from attune.scheduler.v1 import scheduler_pb2, worker_pb2
from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.evaluation_pb2 import EvaluationReport
from attune.spec.v1.grader_pb2 import Grader, StringCheckGrader
from attune.spec.v1.spec_pb2 import Spec
from attune.spec.v1.stage_pb2 import Method, Technique
from google.rpc.status_pb2 import Status

from services.common.database import Database
from services.scheduler.account import Shares
from services.scheduler.approval import new_job
from services.scheduler.board import Board
from services.scheduler.catalogue import read_catalogue
from services.scheduler.changes import Changes
from services.scheduler.desk import Desk
from services.scheduler.dispatch import Dispatcher
from services.scheduler.job import Job
from services.scheduler.lease import LeaseTerms
from services.scheduler.node_store import NodeStore
from services.scheduler.observation_store import ObservationStore
from services.scheduler.state import State
from services.scheduler.steward import Steward
from services.scheduler.store import MIGRATIONS, JobStore
from services.scheduler.sweep import LeaseSweep
from services.scheduler.usage_store import UsageStore

CATALOGUE = read_catalogue()
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
TERMS = LeaseTerms(lease_s=30, renew_s=10)
GIB = 1024**3
STARTER = "attune/starter"
REVISION = "1" * 64
ADAPTER = "ab" * 32


class FakeClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


def a_spec(
    number: int = 1,
    *,
    base_model: str = STARTER,
    revision: str = "",
    rows: int = 600,
    batch: int = 16,
    max_length: int = 512,
    rank: int = 16,
    stages: int = 1,
    method: Method.ValueType = Method.METHOD_LORA,
    technique: Technique.ValueType = Technique.TECHNIQUE_SFT,
) -> Spec:
    """Return an approved spec that passes every check."""
    spec = Spec(name=f"projects/default/specs/s{number}", revision=1, display_name="Routing")
    spec.state = Spec.STATE_APPROVED
    spec.objective.problem = "Route messages."
    spec.objective.success_criteria.add(title="Exact", metric="exact")
    spec.base_model.id, spec.base_model.revision = base_model, revision
    spec.data.dataset = "projects/default/datasets/d1"
    spec.data.train_row_count, spec.data.holdout_row_count = rows, 150
    spec.data.validation_fraction = 0.1
    for _ in range(stages):
        stage = spec.stages.add(technique=technique, method=method)
        values = stage.hyperparameters
        values.learning_rate, values.schedule, values.warmup_ratio = 1e-3, 1, 0.05
        values.weight_decay, values.max_gradient_norm, values.epoch_count = 0.0, 1.0, 3
        values.effective_batch_size, values.max_length, values.seed = batch, max_length, 1
        values.evaluations_per_epoch, values.early_stopping_patience = 2, 3
        values.lora.rank, values.lora.alpha, values.lora.dropout = rank, 2 * rank, 0.0
        values.lora.target_modules.append("all-linear")
    check = StringCheckGrader(input="{{sample.output_text}}", reference="{{item.reference}}")
    check.operation = StringCheckGrader.OPERATION_EQ
    spec.evaluation.graders.append(Grader(name="exact", string_check=check))
    spec.evaluation.few_shot_example_count, spec.evaluation.max_answer_tokens = 3, 64
    spec.evaluation.bootstrap_resample_count, spec.evaluation.confidence = 1000, 0.95
    spec.serving.alias, spec.serving.target, spec.serving.parity_tolerance = "a", "shared", 1e-3
    spec.approval.revision = 1
    spec.approval.canonical_spec = b"canonical"
    spec.approval.hash = sha256(b"canonical").hexdigest()
    spec.approval.approve_time.FromDatetime(NOW)
    return spec


def a_node(
    node_id: str = "node-a",
    *,
    instance: str | None = None,
    memory_gib: float = 6,
    profile: str = "cpu",
    base_model: str = STARTER,
    free: int = 1,
) -> worker_pb2.Node:
    shape = ModelShape()
    shape.CopyFrom(CATALOGUE.shapes[base_model])
    shape.revision = REVISION
    return worker_pb2.Node(
        id=node_id,
        instance=instance or str(uuid4()),
        devices=[worker_pb2.Device(profile=profile, memory_bytes=int(memory_gib * GIB))],
        core_count=1,
        engines=["local"],
        techniques=[Technique.TECHNIQUE_SFT],
        methods=[Method.METHOD_LORA],
        base_models=[shape],
        free_slot_count=free,
    )


def a_job(number: int = 1, *, now: datetime = NOW, state: State = State.QUEUED) -> Job:
    """Return a job in a state, as its own methods make it."""
    job = new_job(a_spec(number), f"a{number:025d}", now)
    if state is State.QUEUED:
        return job
    if state is State.CANCELLED:
        return job.cancel(now)
    job = job.lease("node-a", "instance-1", TERMS.expire_time(now), now)
    return {
        State.RUNNING: lambda: job,
        State.CANCELLING: lambda: job.cancel(now),
        State.PAUSING: lambda: job.pause("Paused on request.", now),
        State.YIELDING: lambda: job.make_room("Makes room.", now),
        State.PAUSED: lambda: job.pause("Paused on request.", now).halt(now),
        State.SUCCEEDED: lambda: job.succeed(a_result(), now),
        State.FAILED: lambda: job.fail(an_error(), now),
    }[state]()


def a_result(
    adapter_sha256: str = ADAPTER, verdict: str = "BETTER", *, before: str = ""
) -> scheduler_pb2.JobResult:
    """Return a result; with a verdict beside the stage before if that is named in `before`."""
    result = scheduler_pb2.JobResult(adapter_sha256=adapter_sha256, lora_rank=16)
    result.report.verdict = EvaluationReport.Verdict.Value(f"VERDICT_{verdict}")
    result.report.tuned_score = 0.5
    if before:
        result.report.previous_stage.verdict = EvaluationReport.Verdict.Value(f"VERDICT_{before}")
    return result


def an_error(text: str = "The data cannot be read.") -> Status:
    return Status(code=9, message=text)


def a_question(reason: str = "TARGET_MET") -> scheduler_pb2.JobQuestion:
    question = scheduler_pb2.JobQuestion(reason=reason, message="The base meets the target.")
    question.figures.add(name="base_score", value=0.9)
    return question


def a_finish(
    run: str, fence: int, outcome: str = "SUCCEEDED", **fields: object
) -> worker_pb2.FinishRunRequest:
    """Return a request with what its outcome must carry."""
    if outcome == "SUCCEEDED":
        fields.setdefault("result", a_result())
    elif outcome in ("FAILED", "LOST", "OUT_OF_MEMORY"):
        fields.setdefault("error", an_error())
    return worker_pb2.FinishRunRequest(
        run=run,
        fence=fence,
        outcome=worker_pb2.FinishRunRequest.Outcome.Value(f"OUTCOME_{outcome}"),
        **fields,
    )


def a_cancel(name: str, request_id: str = "") -> scheduler_pb2.CancelJobRequest:
    return scheduler_pb2.CancelJobRequest(name=name, request_id=request_id or str(uuid4()))


def a_pause(name: str, request_id: str = "") -> scheduler_pb2.PauseJobRequest:
    return scheduler_pb2.PauseJobRequest(name=name, request_id=request_id or str(uuid4()))


def a_resume(
    name: str, request_id: str = "", decision: str = "UNSPECIFIED"
) -> scheduler_pb2.ResumeJobRequest:
    return scheduler_pb2.ResumeJobRequest(
        name=name,
        request_id=request_id or str(uuid4()),
        decision=scheduler_pb2.ResumeJobRequest.Decision.Value(f"DECISION_{decision}"),
    )


def a_priority(name: str, priority: str) -> scheduler_pb2.SetJobPriorityRequest:
    value = scheduler_pb2.Job.Priority.Value(f"PRIORITY_{priority}")
    return scheduler_pb2.SetJobPriorityRequest(name=name, priority=value, request_id=str(uuid4()))


def sqlite_url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'scheduler.db'}"


@dataclass
class Scheduler:
    """All parts of a scheduler but its servers and loops, on one database."""

    database: Database
    clock: FakeClock
    shares: Shares
    changes: Changes
    jobs: JobStore
    nodes: NodeStore
    usage: UsageStore
    observations: ObservationStore
    board: Board
    dispatcher: Dispatcher
    desk: Desk
    sweep: LeaseSweep
    steward: Steward

    def restarted(self) -> "Scheduler":
        """Return a scheduler on the same database: it remembers nothing."""
        return _parts(self.database, self.clock, self.shares)

    async def add_job(self, number: int = 1, *, project: str = "default", **spec: object) -> Job:
        approved = a_spec(number, **spec)
        approved.name = f"projects/{project}/specs/s{number}"
        job = new_job(approved, f"a{number:025d}", self.clock.now())
        assert await self.jobs.add(job, None)
        return job


async def a_scheduler(
    url: str, clock: FakeClock | None = None, shares: Shares | None = None
) -> Scheduler:
    """Return a scheduler on an empty, migrated database; close its database afterwards."""
    clock, database = clock or FakeClock(), Database(url, MIGRATIONS)
    await database.migrate()
    return _parts(database, clock, shares or Shares())


def _parts(database: Database, clock: FakeClock, shares: Shares) -> Scheduler:
    changes, jobs, nodes = Changes(database), JobStore(database), NodeStore(database)
    usage, observations = UsageStore(database), ObservationStore(database)
    board = Board(jobs, nodes, usage, observations, changes, CATALOGUE, shares, clock)
    return Scheduler(
        database,
        clock,
        shares,
        changes,
        jobs,
        nodes,
        usage,
        observations,
        board,
        Dispatcher(jobs, nodes, board, changes, CATALOGUE, TERMS, clock),
        Desk(jobs, nodes, board, changes, CATALOGUE, clock),
        LeaseSweep(jobs, TERMS, clock),
        Steward(jobs, board, clock),
    )
