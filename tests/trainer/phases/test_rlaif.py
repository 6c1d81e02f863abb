"""A judge's opinion as reward: it rises, and a judge that is away is never an opinion."""

from pathlib import Path

import pytest
from attune.spec.v1.grader_pb2 import Grader, GraderMessage, LabelModelGrader
from attune.spec.v1.stage_pb2 import Technique
from google.protobuf.json_format import MessageToDict

from services.common.artefacts import Artefacts
from services.trainer.attempt import METRICS, Attempt
from services.trainer.phases.learnability import ask_whether_it_can_learn, probe
from services.trainer.phases.reward import REWARD_FAILING
from services.trainer.phases.train import train
from services.trainer.phases.validate import validate
from services.trainer.run import Phase, RunFailed, RunPaused
from services.trainer.runtime.run_context import RunContext
from services.trainer.runtime.stopping import Signals
from tests.trainer import tiny, tiny_rl
from tests.trainer.judge_server import JudgeServer

KINDS = ("colour", "animal")


@pytest.fixture
def server(monkeypatch):
    with JudgeServer() as started:
        monkeypatch.setenv("ATTUNE_JUDGE_BASE_URL", started.url)
        monkeypatch.setenv("ATTUNE_JUDGE_RETRIES", "0")
        yield started


def rubric() -> Grader:
    """Return the grader that asks whether the answer names the kind of thing."""
    rule = GraderMessage(role="system", content=f"The answer wants: {' '.join(KINDS)}")
    answer = GraderMessage(role="user", content="Judge {{sample.output_text}}")
    labels = {"labels": ["good", "bad"], "passing_labels": ["good"]}
    return Grader(
        name="rubric", label_model=LabelModelGrader(model="judge", input=[rule, answer], **labels)
    )


@pytest.fixture
def context(tmp_path: Path, two_way_model: Path, server) -> RunContext:
    artefacts = Artefacts(tmp_path / "artefacts")
    revision = tiny.put_model(artefacts, two_way_model)
    rows = [
        {"messages": tiny_rl.a_prompt(kind, value)["messages"]}
        for kind in KINDS
        for value in tiny_rl.VALUES
    ]
    taught = tiny.put_rows(artefacts, rows[:-2])
    held_out = tiny.put_rows(artefacts, rows[-2:])
    spec = tiny_rl.a_spec(
        revision,
        taught,
        held_out,
        rubric(),
        technique=Technique.TECHNIQUE_RLAIF,
        effective_batch_size=tiny_rl.PROMPTS,
        epoch_count=5.0,
    )
    spec.evaluation.graders[0].CopyFrom(rubric())
    spec.objective.success_criteria[0].metric = "rubric"
    placement = MessageToDict(tiny_rl.a_placement(), preserving_proto_field_name=True)
    manifest = tiny.a_manifest(tmp_path, spec)
    manifest.placement.update(placement)
    attempt = Attempt.create(artefacts.attempt(manifest.run_id, 1), manifest)
    return RunContext(attempt, manifest, Signals(), lambda: None)


def test_the_judged_reward_of_unseen_prompts_rises(context, server):
    found = probe(context)
    ask_whether_it_can_learn(context, found)
    context.begin(Phase.TRAIN)
    train(context)
    points = [line["values"] for line in context.attempt.lines(METRICS, 0)[0]]
    rewards = [point["eval_reward"] for point in points if "eval_reward" in point]
    assert rewards[0] < 0.9
    assert max(rewards[1:]) >= rewards[0] + 0.1
    assert {point["ungraded"] for point in points if "ungraded" in point} == {0.0}
    # Equal answers are judged once: there are far fewer calls than answers.
    answers = len(points) * tiny_rl.PROMPTS * tiny_rl.GROUP
    assert 0 < len(server.requests) < answers / 2


def test_a_judge_that_is_away_pauses_the_run_and_scores_nothing(context, server):
    server.failures = 10**6
    with pytest.raises(RunPaused) as caught:
        probe(context)
    question = caught.value.question
    assert question.reason == REWARD_FAILING
    assert question.figures["ungraded_count"] == question.figures["answer_count"]
    assert "503" in question.message


def test_a_judge_that_goes_away_in_training_stops_it_before_the_step(context, server):
    context.begin(Phase.TRAIN)
    assert context.train_examples  # Rendered while the judge is still there.
    server.failures = 10**6
    with pytest.raises(RunPaused) as caught:
        train(context)
    assert caught.value.question.reason == REWARD_FAILING
    assert not context.attempt.checkpoints.exists()


def test_the_reward_is_tried_before_a_step(context, server):
    server.refuses = True
    with pytest.raises(RunFailed) as caught:
        validate(context)
    assert caught.value.reason == "GRADER_UNFIT"
    assert "judge" in caught.value.message
