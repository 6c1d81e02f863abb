"""Runs of reinforcement from VALIDATE to REGISTER, in real processes."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from services.common.artefacts import Artefacts
from services.trainer.attempt import LOG, MESSAGES, METRICS, Attempt
from services.trainer.fork_server import ForkServer
from services.trainer.run import ExitCode, Phase
from tests.trainer import tiny, tiny_rl

pytestmark = pytest.mark.system

TIMEOUT_S = 120.0


class Runs:
    """Starts attempts at one run on the model that can answer in two ways."""

    def __init__(self, root: Path, forks: ForkServer, model: Path) -> None:
        self.root, self.forks = root, forks
        self.artefacts = Artefacts(root / "artefacts")
        self.revision = tiny.put_model(self.artefacts, model)

    def spec(self, *graders, taught=None, **changes):
        train = tiny.put_rows(self.artefacts, taught or tiny_rl.prompts(held_out=False))
        holdout = tiny.put_rows(self.artefacts, tiny_rl.prompts(held_out=True))
        spec = tiny_rl.a_spec(self.revision, train, holdout, *graders, **changes)
        spec.objective.success_criteria[0].target = 0.99
        return spec

    async def finish(self, spec, fence=1, placement=None, **changes):
        placement = placement or tiny_rl.a_placement()
        placed = MessageToDict(placement, preserving_proto_field_name=True)
        manifest = replace(tiny.a_manifest(self.root, spec, fence), placement=placed, **changes)
        attempt = Attempt.create(self.artefacts.attempt(manifest.run_id, fence), manifest)
        run = await self.forks.start_run(attempt.folder)
        return attempt, await asyncio.wait_for(run.wait(), TIMEOUT_S)


@pytest.fixture
def runs(tmp_path: Path, forks: ForkServer, two_way_model: Path) -> Runs:
    return Runs(tmp_path, forks, two_way_model)


def messages(attempt: Attempt) -> str:
    return "\n".join(line["text"] for line in attempt.lines(MESSAGES, 0)[0])


def metrics(attempt: Attempt) -> list[dict[str, float]]:
    return [line["values"] for line in attempt.lines(METRICS, 0)[0]]


def log_of(attempt: Attempt) -> str:
    return (attempt.folder / LOG).read_text()


async def test_answers_to_unseen_prompts_earn_more_after_training(runs):
    attempt, code = await runs.finish(runs.spec())
    assert code == ExitCode.SUCCEEDED, (attempt.error(), log_of(attempt))
    report = attempt.result(Phase.EVALUATE)["report"]
    assert report["tuned_score"] > report["base_score"]
    learnability = attempt.result(Phase.BASELINE)["learnability"]
    # Of 18 rows 2 choose the checkpoint.
    assert (learnability["prompt_count"], learnability["answer_count"]) == (16, tiny_rl.GROUP)
    assert 0.2 <= learnability["mixed_share"] <= 1.0
    assert learnability["form_share"] > 0.9
    assert "answers to each of 16 prompts" in messages(attempt)
    assert "rl.kl_coefficient is 0" in messages(attempt)
    training = attempt.result(Phase.TRAIN)
    assert training["steps_total"] == 12
    points = metrics(attempt)
    rewards = [point["eval_reward"] for point in points if "eval_reward" in point]
    assert training["best_eval_loss"] == -max(rewards[1:])


async def test_a_reward_without_spread_asks_and_goes_on_when_it_is_told_to(runs):
    never = tiny_rl.equals_reference()
    never.string_check.reference = "nothing says this {{item.reference}}"
    spec = runs.spec(never, epoch_count=1.0)
    first, code = await runs.finish(spec)
    assert code == ExitCode.PAUSED, (first.error(), log_of(first))
    question = first.question()
    assert question.reason == "NO_SPREAD"
    assert question.figures["mixed_share"] == 0.0
    assert first.result(Phase.TRAIN) is None

    second, code = await runs.finish(spec, fence=2, waived_reasons=("NO_SPREAD",))
    assert code == ExitCode.SUCCEEDED, (second.error(), log_of(second))
    assert second.result(Phase.BASELINE) == first.result(Phase.BASELINE)


async def test_reinforcement_goes_on_with_the_adapter_of_the_stage_before(runs):
    train = tiny.put_rows(runs.artefacts, tiny_rl.demonstrations(held_out=False))
    holdout = tiny.put_rows(runs.artefacts, tiny_rl.demonstrations(held_out=True))
    spec = tiny_rl.a_chain_spec(runs.revision, train, holdout, kl_coefficient=0.01)
    first, code = await runs.finish(spec, placement=tiny.a_placement())
    assert code == ExitCode.SUCCEEDED, (first.error(), log_of(first))
    adapter = first.result(Phase.REGISTER)["adapter_sha256"]

    second, code = await runs.finish(
        spec,
        fence=2,
        stage_index=1,
        run="projects/default/runs/j1-s1",
        base_adapter_sha256=adapter,
    )
    assert code == ExitCode.SUCCEEDED, (second.question(), second.error(), log_of(second))
    report = second.result(Phase.EVALUATE)["report"]
    assert report["previous_stage"]["adapter_sha256"] == adapter
    assert report["tuned_score"] >= report["previous_stage"]["score"]
    points = [one for one in metrics(second) if "kl" in one]
    assert points[0]["kl"] == pytest.approx(0.0, abs=1e-5)
    made = second.result(Phase.REGISTER)["adapter_sha256"]
    assert made != adapter


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        ({"taught": "no reference"}, "NO_REFERENCE", "18 of 18 rows do not have, first line 1"),
        ({"max_prompt_length": 5}, "NO_TRAINABLE_TOKENS", "longer than 5 tokens"),
        ({"max_completion_length": 250}, "CONTEXT_TOO_SHORT", "context of 256"),
        ({"loss_type": "sapo"}, "UNSUPPORTED_LOSS", "dapo, dr_grpo, grpo, bnpo"),
        ({"temperature": 0.0}, "NO_SAMPLING", "Set it above 0"),
        ({"effective_batch_size": 17, "group_size": 2}, "BATCH_MISMATCH", "has 34"),
    ],
)
async def test_what_cannot_be_reinforced_is_refused_before_a_step(runs, change, reason, said):
    if "taught" in change:
        taught = [{"messages": row["messages"]} for row in tiny_rl.prompts(held_out=False)]
        change = {"taught": taught}
    attempt, code = await runs.finish(runs.spec(**change))
    assert code == ExitCode.FAILED, log_of(attempt)
    assert attempt.error()["reason"] == reason
    assert said in attempt.error()["message"]
