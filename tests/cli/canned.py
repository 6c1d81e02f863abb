"""The four services with canned answers, behind real gRPC, in a thread of their own."""

import asyncio
import threading
from uuid import UUID

from attune.planner.v1 import catalogue_pb2, dataset_pb2_grpc, planner_pb2, planner_pb2_grpc
from attune.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from attune.serving.v1 import (
    deployment_pb2_grpc,
    key_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    playground_pb2_grpc,
)
from attune.spec.v1 import evaluation_pb2, spec_pb2, stage_pb2
from attune.trainer.v1 import trainer_pb2, trainer_pb2_grpc

from services.common import errors
from services.common.rpc import Server
from tests.cli.canned_compute import CannedCompute
from tests.cli.canned_datasets import PROJECT, CannedDatasets
from tests.cli.canned_deployments import CannedDeployments
from tests.cli.canned_keys import CannedKeys
from tests.cli.canned_playground import CannedPlayground
from tests.cli.full_spec import full_spec

SPEC = f"{PROJECT}/specs/s1"
JOB = f"{PROJECT}/jobs/j1"
RUN = f"{PROJECT}/runs/j1-s0"
VERSION = f"{PROJECT}/models/tickets/versions/1"
HASH = "a" * 64


def a_report(**changes) -> evaluation_pb2.EvaluationReport:
    """Return a report of a demo that passed."""
    facts = {
        "grader": "exact",
        "holdout_row_count": 150,
        "base_score": 0.0,
        "few_shot_score": 0.05,
        "majority_score": 0.04,
        "tuned_score": 0.82,
        "difference": 0.82,
        "interval_low": 0.76,
        "interval_high": 0.88,
        "verdict": evaluation_pb2.EvaluationReport.VERDICT_BETTER,
    }
    return evaluation_pb2.EvaluationReport(**{**facts, **changes})


def a_spec() -> spec_pb2.Spec:
    """Return a draft with every field set."""
    spec = full_spec()
    spec.name, spec.hash, spec.state = SPEC, HASH, spec_pb2.Spec.STATE_DRAFT
    spec.serving.alias = "tickets"
    spec.ClearField("approval")
    return spec


def a_job(state: int, phase: int = 0, **progress) -> scheduler_pb2.Job:
    """Return the job of that draft."""
    job = scheduler_pb2.Job(
        name=JOB, spec=SPEC, spec_hash=HASH, state=state, run=RUN, attempt_count=1
    )
    job.progress.phase = phase
    for name, value in progress.items():
        setattr(job.progress, name, value)
    if state == scheduler_pb2.Job.STATE_SUCCEEDED:
        job.result.adapter_sha256 = "b" * 64
        job.result.report.CopyFrom(a_report())
    return job


def a_waiting_job() -> scheduler_pb2.Job:
    """Return that job third in the queue, with all that a scheduler says of it."""
    job = a_job(scheduler_pb2.Job.STATE_QUEUED)
    job.priority = scheduler_pb2.Job.PRIORITY_NORMAL
    job.queue_position, job.cost_micro_usd = 3, 1_230_000
    job.wait_reason = job.state_reason = "2 jobs are before it."
    job.estimated_start_time.FromSeconds(1_900_000_000)
    job.estimated_end_time.FromSeconds(1_900_003_600)
    return job


class Services(
    planner_pb2_grpc.PlannerServiceServicer,
    CannedDatasets,
    CannedCompute,
    CannedKeys,
    scheduler_pb2_grpc.SchedulerServiceServicer,
    trainer_pb2_grpc.TrainerServiceServicer,
    model_pb2_grpc.ModelServiceServicer,
    CannedPlayground,
    CannedDeployments,
):
    """Answers like a system in which everything goes well, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.approved = False
        self.openai = ""
        self.shown = a_waiting_job()
        self.job_end = a_job(scheduler_pb2.Job.STATE_SUCCEEDED)
        self.version_states = [
            model_pb2.ModelVersion.STATE_STAGED,
            model_pb2.ModelVersion.STATE_READY,
        ]
        self.watch_failures = 0
        self.merged_sha256 = ""

    def _keep(self, request):
        self.asked.append(request)
        if "request_id" in request.DESCRIPTOR.fields_by_name:
            UUID(request.request_id)

    async def CreateConversation(self, request, context):
        self._keep(request)
        return planner_pb2.Conversation(name=f"{PROJECT}/conversations/c1")

    async def SendMessage(self, request, context):
        self._keep(request)
        turn = self._turn(request.message)
        for word in turn.reply.split(" "):
            yield planner_pb2.SendMessageResponse(reply_delta=word + " ")
        yield planner_pb2.SendMessageResponse(turn=turn)

    def _turn(self, message):
        if "percent" in message:
            turn = planner_pb2.Turn(message=message, reply="Here is a plan.", spec=SPEC)
            turn.spec_revision = 2
            turn.notices.add(code="pii", message="Names are in the rows.")
            turn.notices.add(code="said", message="Here is a plan.")
            turn.changes.add(field_path="serving.alias", after="tickets", reason="You said so.")
            return turn
        question = planner_pb2.Question(text="How good?", reason="It decides when to stop.")
        reply = "How good must it be? It decides when to stop."
        return planner_pb2.Turn(message=message, reply=reply, question=question)

    async def GetConversation(self, request, context):
        self._keep(request)
        turn = self._turn(self.asked[-2].message)
        return planner_pb2.Conversation(name=request.name, turns=[turn], spec=turn.spec)

    async def GetSpec(self, request, context):
        self._keep(request)
        return self.placed(a_spec())

    async def ListConversations(self, request, context):
        self._keep(request)
        found = planner_pb2.Conversation(name=f"{PROJECT}/conversations/c1", spec=SPEC)
        return planner_pb2.ListConversationsResponse(conversations=[found])

    async def ProposeSpec(self, request, context):
        self._keep(request)
        return a_spec()

    async def ListSpecs(self, request, context):
        self._keep(request)
        return planner_pb2.ListSpecsResponse(specs=[a_spec()])

    async def ListSpecRevisions(self, request, context):
        self._keep(request)
        first, second = a_spec(), a_spec()
        first.revision, second.revision = 1, 2
        return planner_pb2.ListSpecRevisionsResponse(specs=[second, first])

    async def DiffSpecs(self, request, context):
        self._keep(request)
        found = planner_pb2.DiffSpecsResponse(from_revision=1, to_revision=2)
        if request.to_revision != 3:
            found.changes.add(
                field_path="serving.alias", before="a", after="b", reason="You decided it."
            )
        return found

    async def RestoreSpec(self, request, context):
        self._keep(request)
        spec = a_spec()
        spec.revision = 3
        return spec

    async def SuggestRevisions(self, request, context):
        self._keep(request)
        found = planner_pb2.SuggestRevisionsResponse()
        if request.job == JOB:
            suggestion = found.suggestions.add(code="overfit", title="Train for 2 epochs.")
            suggestion.evidence.append("Validation loss was lowest at step 40.")
            suggestion.changes.add(
                field_path="stages.0.hyperparameters.epoch_count", before="5", after="2"
            )
            suggestion.spec.CopyFrom(a_spec())
        return found

    async def ListRecipes(self, request, context):
        self._keep(request)
        found = catalogue_pb2.ListRecipesResponse()
        for technique in (stage_pb2.TECHNIQUE_SFT, stage_pb2.TECHNIQUE_DPO):
            one = found.recipes.add(id=f"recipe-{technique}", technique=technique)
            one.values.add(field_path="lora.rank", value="16", source="arXiv", reason="Enough.")
        return found

    async def ListBaseModels(self, request, context):
        self._keep(request)
        found = catalogue_pb2.ListBaseModelsResponse()
        languages = ["en", "de", "fr", "es", "pt", "ja", "it", "nl", "pl"]
        found.models.add(
            id="org/experts",
            parameter_count=30_000_000_000,
            active_parameter_count=3_000_000_000,
            languages=languages,
            gated=True,
        )
        return found

    async def UpdateSpec(self, request, context):
        self._keep(request)
        request.spec.revision = 2
        return request.spec

    async def ApproveSpec(self, request, context):
        self._keep(request)
        if request.hash != HASH:
            raise errors.Conflict("The plan has changed: stages.0.method.", reason="STALE_HASH")
        self.approved = True
        spec = a_spec()
        spec.state, spec.approval.revision = spec_pb2.Spec.STATE_APPROVED, 1
        return spec

    async def ListJobs(self, request, context):
        self._keep(request)
        jobs = [a_waiting_job()] if self.approved else []
        return scheduler_pb2.ListJobsResponse(jobs=jobs)

    async def WatchJob(self, request, context):
        self._keep(request)
        yield a_job(scheduler_pb2.Job.STATE_QUEUED)
        if self.watch_failures:
            self.watch_failures -= 1
            raise errors.Unavailable("Restarting.", reason="RESTARTING")
        yield a_job(
            scheduler_pb2.Job.STATE_RUNNING,
            scheduler_pb2.PHASE_TRAIN,
            done_count=12,
            total_count=240,
            loss=1.2345,
        )
        yield self.job_end

    async def CancelJob(self, request, context):
        self._keep(request)
        return a_job(scheduler_pb2.Job.STATE_CANCELLED)

    async def GetJob(self, request, context):
        self._keep(request)
        return self.shown

    async def PauseJob(self, request, context):
        self._keep(request)
        return a_job(scheduler_pb2.Job.STATE_PAUSED)

    async def ResumeJob(self, request, context):
        self._keep(request)
        return a_waiting_job()

    async def SetJobPriority(self, request, context):
        self._keep(request)
        job = a_waiting_job()
        job.priority = request.priority
        return job

    async def GetRun(self, request, context):
        self._keep(request)
        run = trainer_pb2.Run(
            name=request.name,
            mlflow_run="m1",
            mlflow_uri="http://127.0.0.1:1/#/experiments/1/runs/m1",
        )
        for index, phase in enumerate(scheduler_pb2.Phase.values()[1:]):
            timing = run.phases.add(phase=phase)
            timing.start_time.FromMilliseconds(1_000_000_000_000 + 10 * index)
            timing.end_time.FromMilliseconds(1_000_000_000_000 + 10 * index + 10)
        return run

    async def MergeAdapter(self, request, context):
        self._keep(request)
        return trainer_pb2.MergeAdapterResponse(
            merged_sha256="c" * 64,
            base_model=f"merged/{'c' * 12}",
            base_model_revision="c" * 64,
        )

    async def GetReport(self, request, context):
        self._keep(request)
        return trainer_pb2.RunReport(
            name=request.name,
            markdown="# Tickets\n\n**better.** By far.\n",
            html="<p>Tickets</p>",
            report=a_report(),
        )

    async def ListModelVersions(self, request, context):
        self._keep(request)
        return model_pb2.ListModelVersionsResponse(model_versions=[self._version()])

    async def GetModelVersion(self, request, context):
        self._keep(request)
        return self._version()

    async def ExportModelVersion(self, request, context):
        self._keep(request)
        return model_pb2.ExportModelVersionResponse(
            uri="file:///artefacts/exports/v1", command="vllm serve ./base", size_bytes=2**20
        )

    async def DeleteModelVersion(self, request, context):
        self._keep(request)
        return model_pb2.DeleteModelVersionResponse(freed_bytes=2**20, kept=["One thing stays."])

    def _version(self):
        states = self.version_states
        state = states.pop(0) if len(states) > 1 else states[0]
        return model_pb2.ModelVersion(
            name=VERSION,
            state=state,
            state_reason="The engine says otherwise.",
            base_model="attune/starter",
            adapter_sha256="" if self.merged_sha256 else "b" * 64,
            merged_sha256=self.merged_sha256,
            report=a_report(),
            parity=model_pb2.ParityReport(prompt_count=24, max_logprob_difference=4e-6),
        )


class Running:
    """Serves `Services` until it is stopped; commands run an event loop of their own."""

    def __init__(self) -> None:
        self.services = Services()
        self.port = 0
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def start(self) -> None:
        """Return when everything answers."""
        self._thread.start()
        assert self._started.wait(20)

    def stop(self) -> None:
        """Return when the port is free again."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        server = Server("canned.attune")
        for module, name in (
            (planner_pb2_grpc, "PlannerService"),
            (dataset_pb2_grpc, "DatasetService"),
            (scheduler_pb2_grpc, "SchedulerService"),
            (trainer_pb2_grpc, "TrainerService"),
            (model_pb2_grpc, "ModelService"),
            (playground_pb2_grpc, "PlaygroundService"),
            (deployment_pb2_grpc, "DeploymentService"),
            (key_pb2_grpc, "KeyService"),
        ):
            register = getattr(module, f"add_{name}Servicer_to_server")
            server.add(register, self.services, name)
        self.port = await server.start("127.0.0.1", 0)
        self._started.set()
        await self._stop.wait()
        await server.stop()
