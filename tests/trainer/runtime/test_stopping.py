"""Cancel, pause and SIGTERM, in each phase and where a phase does not look up."""

import os
import signal
from multiprocessing.connection import wait

import pytest

from services.trainer import run_process
from services.trainer.attempt import MESSAGES, METRICS, Attempt
from services.trainer.run import ExitCode, Phase
from services.trainer.runtime.stopping import CANCEL, PAUSE, PAUSE_MAX_S, TERMINATE, patience_s
from services.trainer.supervisor import outcome
from tests.trainer import hooks, tiny
from tests.trainer.short_runs import JOIN_S

pytestmark = pytest.mark.system

DEADLINE_S = 0.3
FUNCTIONS = ["validate", "baseline", "train", "evaluate", "register"]


def trained_steps(attempt: Attempt) -> list[int]:
    return [one["step"] for one in attempt.lines(METRICS, 0)[0] if "loss" in one["values"]]


def messages(attempt: Attempt) -> str:
    return "\n".join(line["text"] for line in attempt.lines(MESSAGES, 0)[0])


@pytest.mark.parametrize("phase", list(Phase))
def test_each_phase_sees_within_itself_that_it_is_cancelled(short_runs, phase):
    attempt, code = short_runs.finish(
        f"cancel-{phase.key}", 1, hook=hooks.ask_for_a_stop_at, arguments=(phase, "cancel")
    )
    assert code == ExitCode.CANCELLED
    assert attempt.phases()[-1].phase is phase
    assert attempt.result(phase) is None
    assert len(trained_steps(attempt)) <= (0 if phase <= Phase.TRAIN else 4)


@pytest.mark.parametrize("phase", list(Phase))
def test_each_phase_sees_within_itself_that_it_is_paused_and_nothing_is_lost(
    short_runs, whole_run, phase
):
    job = f"pause-{phase.key}"
    first, code = short_runs.finish(
        job, 1, hook=hooks.ask_for_a_stop_at, arguments=(phase, "pause")
    )
    assert code == ExitCode.PAUSED
    assert first.phases()[-1].phase is phase
    assert first.result(phase) is None
    assert "Halted as asked" in messages(first)
    if phase is Phase.TRAIN:
        assert [path.name for path in first.checkpoints.iterdir()] == ["step-00000001"]
    second, code = short_runs.finish(job, 2)
    assert code == ExitCode.SUCCEEDED
    assert set(trained_steps(first)) & set(trained_steps(second)) == set()
    assert short_runs.weights_sha256(second) == short_runs.weights_sha256(whole_run)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_phase_that_looks_up_no_more_is_ended_all_the_same(short_runs, function):
    position = FUNCTIONS.index(function)
    order, code_of = (
        [CANCEL, PAUSE, TERMINATE],
        {
            CANCEL: ExitCode.CANCELLED,
            PAUSE: ExitCode.PAUSED,
            TERMINATE: ExitCode.TERMINATED,
        },
    )
    asked = order[position % 3]
    attempt, process, ours = short_runs.begin(
        f"hang-{function}", 1, hook=hooks.hang_in, arguments=(function, DEADLINE_S)
    )
    for _ in range(position + 1):
        assert wait([ours], JOIN_S)
        assert ours.recv_bytes() == run_process.PHASE
    ours.send_bytes(asked)
    process.join(JOIN_S)
    assert process.exitcode == code_of[asked]
    assert attempt.result(Phase(position + 1)) is None


def test_sigterm_writes_a_checkpoint_and_the_run_is_taken_up_unasked(short_runs, whole_run):
    first, process, ours = short_runs.begin(
        "sigterm", 1, hook=hooks.signal_at_step, arguments=(2, int(signal.SIGTERM))
    )
    process.join(JOIN_S)
    assert process.exitcode == ExitCode.TERMINATED
    names = sorted(path.name for path in first.checkpoints.iterdir())
    assert names == ["step-00000001", "step-00000002"]
    lease = tiny.a_lease(short_runs.spec)
    request = outcome(lease, first, process.exitcode)
    assert request.outcome == request.OUTCOME_LOST
    assert "told to end" in request.error.message
    ours.close()
    second, code = short_runs.finish("sigterm", 2)
    assert code == ExitCode.SUCCEEDED
    assert trained_steps(second) == [3, 4]
    assert short_runs.weights_sha256(second) == short_runs.weights_sha256(whole_run)


def test_a_pause_that_was_asked_for_stays_one_when_the_machine_ends_too(short_runs):
    attempt, process, ours = short_runs.begin(
        "both", 1, hook=hooks.hang_in, arguments=("train", DEADLINE_S)
    )
    for _ in range(3):
        ours.recv_bytes()
    ours.send_bytes(PAUSE)
    os.kill(process.pid, signal.SIGTERM)
    process.join(JOIN_S)
    assert process.exitcode == ExitCode.PAUSED
    assert attempt.result(Phase.TRAIN) is None


def test_a_pause_waits_for_a_step_that_is_known_to_take_longer_and_not_for_ever():
    assert patience_s(0.0) == patience_s(1.0) == PAUSE_MAX_S
    assert patience_s(45.0) == 45.0
    assert patience_s(3600.0) == 120.0
