"""Answers sampled and rewarded in two real processes: what a step takes, and what all agree on."""

import shutil
from pathlib import Path

import pytest
from attune.spec.v1.stage_pb2 import Technique
from safetensors.torch import load_file

from services.trainer.run import ExitCode, Phase
from tests.trainer import short_runs, tiny, tiny_rl
from tests.trainer.gangs import train
from tests.trainer.sharded_rank import STEPS
from tests.trainer.test_gang import Runs, curve, ended, logs, until

pytestmark = pytest.mark.system

TOLERANCE = 1e-6
ANSWERS = tiny_rl.PROMPTS * tiny_rl.GROUP


@pytest.fixture(scope="module")
def folder(tmp_path_factory, two_way_model, forks) -> Path:
    folder = tmp_path_factory.mktemp("gang")
    shutil.copytree(two_way_model, folder / "model")
    return folder


def reinforce(folder: Path, size: int, name: str, **changes):
    return train(folder, size, name, technique=Technique.TECHNIQUE_RLVR, **changes)


@pytest.fixture(scope="module")
def alone(folder):
    return reinforce(folder, 1, "alone")[0]


@pytest.fixture(scope="module")
def both(folder):
    return reinforce(folder, 2, "both")


def steps_of(notes, size):
    """Return the lines of the prompts of each step by process, evaluations left out."""
    taught = len(tiny_rl.prompts(held_out=False))
    found = [[call for call in one["asked"] if call[0][0] < taught] for one in notes]
    assert all(len(calls) == STEPS for calls in found)
    assert all(len(call) == ANSWERS // size for calls in found for call in calls)
    return [[call[step] for call in found] for step in range(STEPS)]


def test_each_step_takes_whole_groups_of_the_prompts_that_one_process_takes(alone, both):
    for one, shares in zip(steps_of([alone], 1), steps_of(both, 2), strict=True):
        (expected,) = one
        assert [line for line, _ in expected] == [line for share in shares for line, _ in share]


def test_no_two_processes_sample_with_the_same_draws(both):
    first, second = steps_of(both, 2)[0]
    assert [answer for _, answer in first] != [answer for _, answer in second]


def test_every_answer_is_graded_once_and_all_rewards_are_told(alone, both):
    leader, follower = both
    held_out = {line for line in range(100) if line >= len(tiny_rl.prompts(held_out=False))}
    # An evaluation is graded by the first process alone.
    measured = [call for call in leader["asked"] if call[0][0] in held_out]
    assert len(measured) == len([call for call in alone["asked"] if call[0][0] in held_out]) > 1
    assert not [call for call in follower["asked"] if call[0][0] in held_out]


def test_the_evaluation_before_the_first_step_is_that_of_one_process(alone, both):
    (leader, _) = both
    assert leader["numbers"]["0"]["eval_reward"] == pytest.approx(
        alone["numbers"]["0"]["eval_reward"], abs=TOLERANCE
    )


def test_all_processes_end_with_the_same_weights(folder, alone, both):
    leader, follower = both
    assert leader["weights_sha256"] == follower["weights_sha256"]
    assert leader["weights_sha256"] != alone["weights_sha256"]
    assert leader["losses"].keys() == alone["losses"].keys()


def test_the_same_seed_gives_the_same_run_again(folder, both):
    again = reinforce(folder, 2, "again")
    assert [one["asked"] for one in again] == [one["asked"] for one in both]
    first, second = (
        load_file(folder / name / f"checkpoint-{STEPS}" / "adapter_model.safetensors")
        for name in ("both", "again")
    )
    assert all(first[name].equal(second[name]) for name in first)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_grader_that_fails_in_one_process_ends_all_with_its_reason(folder, rank):
    leader, follower = reinforce(folder, 2, f"failing-{rank}", failing_rank=rank)
    assert leader["ended"] == f"RunFailed broken in process {rank}"
    assert follower["ended"] == "RunCancelled"


class AnswerRuns(Runs):
    """Whole runs that learn from rewards."""

    waived_reasons = ("TARGET_MET", "NO_SPREAD", "NO_REWARD_SPREAD")

    def spec(self, **changes: object):
        spec = short_runs.reinforced(self.artefacts, self.revision)
        for name, value in changes.items():
            setattr(spec.stages[0].hyperparameters, name, value)
        return tiny.approved(spec)


@pytest.fixture
def runs(tmp_path, forks, artefacts, two_way_model) -> AnswerRuns:
    return AnswerRuns(tmp_path, forks, tiny.put_model(artefacts, two_way_model))


async def test_a_whole_run_is_evaluated_as_in_one_process_and_goes_on_in_one(runs):
    spec = runs.spec(epoch_count=2.0)
    alone = await runs.finish(spec, 1, job="j1", rows=ANSWERS)
    attempt, processes = await runs.start(spec, 2, job="j2", rows=ANSWERS)
    await until(lambda: len(curve(attempt, "loss")) >= 2)
    processes[0].pause()
    assert await ended(processes) == [ExitCode.PAUSED, ExitCode.CANCELLED], logs(attempt)
    # Before a step is learnt, the same answers earn the same.
    assert curve(attempt, "eval_reward")[0] == curve(alone, "eval_reward")[0]
    rest = await runs.finish(spec, 1, fence=2, job="j2", rows=ANSWERS)
    halted, total = max(curve(attempt, "loss")), max(curve(alone, "loss"))
    assert rest.result(Phase.TRAIN)["resumed_step"] == halted < total
    assert sorted(curve(rest, "loss")) == list(range(halted + 1, total + 1))


async def test_cancelling_the_first_process_ends_the_sampling_of_all(runs):
    spec = runs.spec(epoch_count=500.0)
    attempt, processes = await runs.start(spec, 2, rows=ANSWERS)
    await until(lambda: len(curve(attempt, "loss")) >= 1)
    processes[0].cancel()
    assert await ended(processes) == [ExitCode.CANCELLED, ExitCode.CANCELLED], logs(attempt)
