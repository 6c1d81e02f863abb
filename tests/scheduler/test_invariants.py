"""Two schedulers on one database, and whatever people, trainers and time do to them, in any order.

A final state never changes, so a cancelled job never starts again; of all leases of a job at most
one is live; every change of state that others must know has exactly one row in the outbox; every
lease that ended was charged to its project exactly once. Stages run in their order, each from the
adapter of the one before, and none again once it has ended.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from attune.scheduler.v1.scheduler_pb2 import PHASE_TRAIN, PHASE_VALIDATE, JobProgress
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from services.common.errors import FailedPrecondition
from services.scheduler.chain import base_adapter_sha256
from services.scheduler.row_store import OUTBOX
from services.scheduler.state import FINAL, HAPPENED, LEASED, State
from tests.scheduler.factories import (
    TERMS,
    a_cancel,
    a_finish,
    a_node,
    a_pause,
    a_priority,
    a_question,
    a_result,
    a_resume,
    a_scheduler,
    sqlite_url,
)

NODES = st.sampled_from(["node-a", "node-b"])
OUTCOMES = st.sampled_from(["SUCCEEDED", "FAILED", "CANCELLED", "LOST", "PAUSED", "ASKS"])
DECISIONS = st.sampled_from(["UNSPECIFIED", "CONTINUE", "STOP"])
PRIORITIES = st.sampled_from(["LOW", "NORMAL", "HIGH"])
PHASES = st.sampled_from([PHASE_VALIDATE, PHASE_TRAIN])
VERDICTS = st.sampled_from(["BETTER", "CANNOT_TELL", "WORSE"])
JOBS_MAX = 3


class SchedulerMachine(RuleBasedStateMachine):
    """Drives a scheduler on a real database; each rule changes the state of a job at most once."""

    @initialize()
    def begin(self):
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        url = sqlite_url(Path(self.folder.name))
        self.scheduler = self.runner.run(a_scheduler(url))
        self.other = self.runner.run(a_scheduler(url, self.scheduler.clock))
        self.fences = {}
        self.nodes = {name: a_node(name) for name in ("node-a", "node-b")}
        self.leases = []
        self.states = {}
        self.changes = []

    def teardown(self):
        self.runner.run(self.scheduler.database.close())
        self.runner.run(self.other.database.close())
        self.runner.close()
        self.folder.cleanup()

    def try_to(self, work):
        """Do something that the scheduler may refuse, and return whether it did not."""
        try:
            self.runner.run(work)
        except FailedPrecondition:
            return False
        return True

    @rule(stages=st.integers(1, 3))
    def add(self, stages):
        if len(self.states) < JOBS_MAX:
            adding = self.scheduler.add_job(len(self.states) + 1, stages=stages)
            job = self.runner.run(adding)
            self.states[job.name] = State.QUEUED
            self.changes.append((job.name, HAPPENED[State.QUEUED]))

    @rule(name=NODES)
    def lease(self, name):
        lease = self.runner.run(self.scheduler.dispatcher.lease(self.nodes[name], 0))
        if lease is not None:
            assert self.states[lease.job.name] is State.QUEUED
            self.check_lease(lease)
            self.leases.append((lease.job.run, lease.job.attempt_count, lease.job.name))

    @rule(name=NODES)
    def restart_worker(self, name):
        self.nodes[name] = a_node(name, free=0)
        self.runner.run(self.scheduler.dispatcher.lease(self.nodes[name], 0))
        self.nodes[name].free_slot_count = 1

    @rule(phase=PHASES, pick=st.randoms())
    def renew(self, phase, pick):
        if self.leases:
            run, fence, name = pick.choice(self.leases)
            before = self.runner.run(self.scheduler.jobs.get(name))
            taken = self.try_to(
                self.scheduler.dispatcher.renew(run, fence, JobProgress(phase=phase))
            )
            assert taken == (before.state in LEASED and before.attempt_count == fence)
            if taken and (before.progress is None or before.progress.phase != phase):
                self.changes.append((name, "job.phase_changed"))

    @rule(outcome=OUTCOMES, verdict=VERDICTS, pick=st.randoms())
    def finish(self, outcome, verdict, pick):
        if self.leases:
            run, fence, name = pick.choice(self.leases)
            before = self.runner.run(self.scheduler.jobs.get(name))
            request = a_finish(run, fence, outcome if outcome != "ASKS" else "PAUSED")
            if outcome == "ASKS":
                request.question.CopyFrom(a_question())
            if outcome == "SUCCEEDED":
                beside = verdict if before.stage_index else ""
                request.result.CopyFrom(a_result(f"{fence:064x}", verdict, before=beside))
            taken = self.try_to(self.scheduler.dispatcher.finish(request))
            after = self.runner.run(self.scheduler.jobs.get(name))
            if not taken or before.attempt_count != fence:
                assert after == before
            if len(after.stage_results) > len(before.stage_results):
                self.check_stage_end(before, after, verdict)

    @rule(pick=st.randoms())
    def cancel(self, pick):
        if self.states:
            name = pick.choice(sorted(self.states))
            self.try_to(self.scheduler.desk.cancel(a_cancel(name)))

    @rule(pick=st.randoms())
    def pause(self, pick):
        if self.states:
            name = pick.choice(sorted(self.states))
            before = self.states[name]
            done = self.try_to(self.other.desk.pause(a_pause(name)))
            assert done == (before not in FINAL and before is not State.CANCELLING)

    @rule(pick=st.randoms(), decision=DECISIONS)
    def resume(self, pick, decision):
        if self.states:
            name = pick.choice(sorted(self.states))
            before = self.runner.run(self.scheduler.jobs.get(name))
            if decision == "UNSPECIFIED" and before.question and before.state is State.PAUSED:
                decision = "CONTINUE"
            request = a_resume(name, decision=decision)
            done = self.try_to(self.scheduler.desk.resume(request))
            if decision == "STOP":
                assert done == (before.state is State.PAUSED)
            else:
                assert done or before.state in FINAL or before.state is State.CANCELLING

    @rule(pick=st.randoms(), priority=PRIORITIES)
    def rank(self, pick, priority):
        if self.states:
            name = pick.choice(sorted(self.states))
            self.try_to(self.scheduler.desk.set_priority(a_priority(name, priority)))

    @rule()
    def look_after_the_queue(self):
        self.runner.run(self.scheduler.steward.look())
        self.runner.run(self.other.steward.look())

    @rule()
    def the_other_takes_over(self):
        self.scheduler, self.other = self.other, self.scheduler

    @rule(name=NODES)
    def cancel_and_lease_race(self, name):
        """Of a race over a queued job one wins, and who is told of a lease can be stopped."""
        queued = [job for job, state in self.states.items() if state is State.QUEUED]
        if len(queued) != 1:
            return
        (job,) = queued

        async def race():
            lease = self.other.dispatcher.lease(self.nodes[name], 0)
            _, given = await asyncio.gather(self.scheduler.desk.cancel(a_cancel(job)), lease)
            return given

        given = self.runner.run(race())
        after = self.runner.run(self.scheduler.jobs.get(job))
        if given is not None:
            assert after.state is State.CANCELLING
            self.leases.append((given.job.run, given.job.attempt_count, job))
            self.changes.append((job, HAPPENED[State.RUNNING]))
        else:
            assert after.state in (State.CANCELLED, State.CANCELLING)

    @rule(seconds=st.sampled_from([1, 15, 31]))
    def let_time_pass(self, seconds):
        self.scheduler.clock.advance(seconds)
        self.runner.run(self.scheduler.sweep.sweep())

    @rule()
    def restart_scheduler(self):
        self.scheduler = self.scheduler.restarted()
        self.scheduler.clock.advance(TERMS.lease_s - 1)
        assert self.runner.run(self.scheduler.sweep.sweep()) == 0

    @invariant()
    def nothing_is_broken(self):
        self.check_states()
        self.check_outbox()
        self.check_use()

    def check_states(self):
        """Final states never change, and only the newest lease of a job is live."""
        for name, before in self.states.items():
            job = self.runner.run(self.scheduler.jobs.get(name))
            if before in FINAL:
                assert job.state is before
            if before in FINAL:
                assert job.attempt_count == self.fences[name]
            self.fences[name] = job.attempt_count
            if job.state in LEASED:
                newest = max(fence for _, fence, leased in self.leases if leased == name)
                assert job.attempt_count == newest
                assert job.node
            else:
                assert not job.node
            if job.state is not before and job.state in HAPPENED:
                self.changes.append((name, HAPPENED[job.state]))
            self.states[name] = job.state

    def check_lease(self, lease):
        """A stage begins with what the one before it has made."""
        job = lease.job
        assert job.run.endswith(f"-s{job.stage_index}")
        made = [one.adapter_sha256 for one in job.stage_results]
        assert len(made) == job.stage_index
        assert base_adapter_sha256(job) == (made[-1] if made else "")

    def check_stage_end(self, before, after, verdict):
        """The chain goes on by one stage, or stops where one was worse or was the last."""
        made, count = after.stage_results, len(after.approved_spec.stages)
        assert made[:-1] == before.stage_results
        assert made[-1].adapter_sha256 == f"{before.attempt_count:064x}"
        assert after.finished_fence == before.attempt_count
        if count > 1 and verdict == "WORSE":
            stopped = State.SUCCEEDED if before.stage_index else State.FAILED
            assert after.state is stopped
            assert (after.result == made[-2]) if before.stage_index else after.error
        elif len(made) == count:
            assert (after.state, after.result) == (State.SUCCEEDED, made[-1])
        elif after.state is not State.CANCELLED:
            assert after.state in (State.QUEUED, State.PAUSED)
            assert (after.stage_index, after.loss_count) == (before.stage_index + 1, 0)

    def check_outbox(self):
        """Every change that others must know has exactly one row, in order."""
        told = [subject.split(".") for subject in self.runner.run(self._outbox())]
        for name in self.states:
            job_id = name.rsplit("/", 1)[1]
            seen = [event for job, event in self.changes if job == name]
            assert [f"job.{parts[5]}" for parts in told if parts[4] == job_id] == seen

    def check_use(self):
        """What the project has used is what its jobs' ended leases have taken."""
        jobs = [self.runner.run(self.scheduler.jobs.get(name)) for name in self.states]
        used = self.runner.run(self.scheduler.usage.read(self.scheduler.clock.now()))
        taken = sum(job.device_s for job in jobs)
        assert (used["default"].device_s if used else 0.0) == pytest.approx(taken)

    async def _outbox(self):
        async with self.scheduler.database.read() as connection:
            rows = await connection.execute(select(OUTBOX.c.subject).order_by(OUTBOX.c.sequence))
            return [subject for (subject,) in rows]


SchedulerMachine.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestScheduler = SchedulerMachine.TestCase
