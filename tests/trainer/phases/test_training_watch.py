"""Samples, watchdogs and the memory probe in real runs of four steps."""

from dataclasses import replace

import pytest
from attune.scheduler.v1.scheduler_pb2 import PHASE_TRAIN, PHASE_VALIDATE
from attune.scheduler.v1.worker_pb2 import FinishRunRequest
from attune.spec.v1.compute_pb2 import MemoryEstimate

from services.trainer.attempt import LOG, MESSAGES, METRICS, TRAINING_SAMPLES, Attempt
from services.trainer.phases.memory_probe import is_needed, probe_of
from services.trainer.recipes.training import Example, Training
from services.trainer.run import ExitCode, Phase
from services.trainer.supervisor import outcome
from tests.trainer import hooks, tiny

GIB = 1024**3


def messages(attempt: Attempt) -> list[str]:
    return [line["text"] for line in attempt.lines(MESSAGES, 0)[0]]


def row(action: str, rule: str = "above", **changes: object) -> dict[str, object]:
    return {
        "name": "test",
        "techniques": ["SFT"],
        "rule": rule,
        "threshold": -1.0,
        "metrics": ["loss"],
        "logs": 2,
        "action": action,
        "reason": "TESTED",
        "says": "{metric} is {value:.2f} at step {step}.",
        "remedy": "Do something.",
        "source": "a test",
        **changes,
    }


@pytest.mark.system
def test_the_same_prompts_are_answered_at_each_evaluation(short_runs, whole_run):
    attempt, code = short_runs.finish("every", 1, hook=hooks.take_every_sample)
    assert code == ExitCode.SUCCEEDED
    assert short_runs.weights_sha256(attempt) == short_runs.weights_sha256(whole_run)
    lines, points = attempt.lines(TRAINING_SAMPLES, 0)[0], attempt.lines(METRICS, 0)[0]
    evaluated = [one["step"] for one in points if "eval_loss" in one["values"]]
    assert evaluated == [1, 2, 3, 4]
    count = len(lines) // 4
    assert [one["step"] for one in lines] == [step for step in evaluated for _ in range(count)]
    prompts = [one["prompt"] for one in lines]
    assert prompts == prompts[:count] * 4
    # Rows that ask the same are asked once.
    assert len(set(prompts[:count])) == count >= 1
    assert all(one["reference"] and one["prompt"].startswith("say the") for one in lines)
    assert any(one["answer"] for one in lines)


@pytest.mark.system
def test_the_first_and_the_last_evaluation_have_samples_whatever_they_cost(whole_run):
    steps = {one["step"] for one in whole_run.lines(TRAINING_SAMPLES, 0)[0]}
    assert {1, 4} <= steps


@pytest.mark.system
def test_the_weights_are_the_same_with_samples_and_without(short_runs, whole_run):
    attempt, code = short_runs.finish("silent", 1, hook=hooks.take_no_samples)
    assert code == ExitCode.SUCCEEDED
    assert attempt.lines(TRAINING_SAMPLES, 0)[0] == []
    assert short_runs.weights_sha256(attempt) == short_runs.weights_sha256(whole_run)


@pytest.mark.system
def test_a_watchdog_that_warns_says_it_once_and_training_goes_on(short_runs, whole_run):
    attempt, code = short_runs.finish(
        "warn", 1, hook=hooks.look_out_for, arguments=([row("WARN")],)
    )
    assert code == ExitCode.SUCCEEDED
    (said,) = [text for text in messages(attempt) if "Do something." in text]
    assert said.startswith("loss is ")
    assert "at step 2." in said
    assert short_runs.weights_sha256(attempt) == short_runs.weights_sha256(whole_run)


@pytest.mark.system
def test_a_watchdog_that_stops_fails_the_run_with_its_reason(short_runs):
    attempt, code = short_runs.finish(
        "stop", 1, hook=hooks.look_out_for, arguments=([row("STOP")],)
    )
    assert code == ExitCode.FAILED
    assert attempt.error()["reason"] == "TESTED"
    assert "Do something." in attempt.error()["message"]
    assert [path.name for path in attempt.checkpoints.iterdir()] == ["step-00000001"]


@pytest.mark.system
def test_a_watchdog_that_pauses_asks_at_a_checkpoint_and_is_not_heard_twice(short_runs, whole_run):
    rows = ([row("PAUSE")],)
    first, code = short_runs.finish("ask", 1, hook=hooks.look_out_for, arguments=rows)
    assert code == ExitCode.PAUSED
    question = first.question()
    assert question.reason == "TESTED"
    assert "at step 2. Do something." in question.message
    assert question.figures["step"] == 2.0
    newest = max(path.name for path in first.checkpoints.iterdir())
    second, code = short_runs.finish(
        "ask", 2, hook=hooks.look_out_for, arguments=rows, waived_reasons=("TESTED",)
    )
    assert code == ExitCode.SUCCEEDED
    assert second.result(Phase.TRAIN)["resumed_step"] == int(newest.removeprefix("step-"))
    assert short_runs.weights_sha256(second) == short_runs.weights_sha256(whole_run)


@pytest.mark.system
def test_the_memory_probe_changes_nothing_and_leaves_nothing(short_runs, whole_run):
    placement = tiny.a_placement()
    placement.memory.high_bytes, placement.memory.capacity_bytes = 3 * GIB, 4 * GIB
    attempt, code = short_runs.finish("probe", 1, placement=placement)
    assert code == ExitCode.SUCCEEDED, (attempt.folder / LOG).read_text()
    assert whole_run.result(Phase.VALIDATE)["probed_bytes"] == 0
    assert attempt.result(Phase.VALIDATE)["probed_bytes"] > 100 * 1024**2
    assert short_runs.weights_sha256(attempt) == short_runs.weights_sha256(whole_run)
    assert not (attempt.folder / "probe").exists()
    lines = attempt.lines(METRICS, 0)[0]
    assert [one["step"] for one in lines if "loss" in one["values"]] == [1, 2, 3, 4]


@pytest.mark.system
def test_too_little_memory_is_found_before_anything_is_scored_or_trained(short_runs):
    placement = tiny.a_placement(20_000, 1)
    placement.memory.high_bytes, placement.memory.capacity_bytes = 3 * GIB, 4 * GIB
    spec = short_runs.spec
    size = spec.stages[0].hyperparameters.effective_batch_size
    try:
        spec.stages[0].hyperparameters.effective_batch_size = 20_000
        attempt, code = short_runs.finish(
            "short", 1, placement=placement, hook=hooks.limit_memory, arguments=(300,)
        )
    finally:
        spec.stages[0].hyperparameters.effective_batch_size = size
    assert code == ExitCode.CRASHED
    assert attempt.result(Phase.VALIDATE) is None
    request = outcome(tiny.a_lease(spec), attempt, code)
    assert request.outcome == FinishRunRequest.OUTCOME_OUT_OF_MEMORY
    # What ran out are steps of training: a smaller layout is to be found, not a larger device.
    assert request.memory.phase == PHASE_TRAIN
    assert (request.memory.step_count, request.memory.checkpoint_step_count) == (0, 0)
    assert request.memory.max_token_count > 5
    assert request.memory.peak_bytes > 0
    attempt.discard_half_written()
    assert outcome(tiny.a_lease(spec), attempt, code).memory.phase == PHASE_VALIDATE


def test_where_memory_is_plenty_it_is_not_tried():
    plenty = MemoryEstimate(high_bytes=1 * GIB, capacity_bytes=4 * GIB)
    tight = MemoryEstimate(high_bytes=3 * GIB, capacity_bytes=4 * GIB)
    unknown = MemoryEstimate()
    assert not is_needed(plenty, 10**9, use_cuda=False)
    assert is_needed(tight, 10**5, use_cuda=False)
    assert not is_needed(unknown, 10**6, use_cuda=False)
    assert is_needed(unknown, 10**9, use_cuda=False)
    assert is_needed(plenty, 10**5, use_cuda=True)


def test_a_probe_is_two_steps_of_passes_as_long_as_the_longest_rows(tmp_path):
    spec = tiny.a_spec("r" * 64, "d" * 64, "e" * 64)
    rows = [Example([1] * length, [1] * length) for length in (3, 9, 5, 7)]
    training = Training(
        model_folder=tmp_path,
        method=spec.stages[0].method,
        hyperparameters=spec.stages[0].hyperparameters,
        plan=tiny.a_placement(2, 8).parallel_plan,
        train=rows,
        validation=rows,
        output_folder=tmp_path,
        resume_from=tmp_path,
        use_cuda=False,
        steps_total=100,
        evaluation_steps=10,
        logging_steps=5,
        warmup_steps=10,
        samples=[[1, 2]],
    )
    probe = probe_of(training)
    assert [one.length for one in probe.train] == [9, 7] * 4
    assert probe.plan.gradient_accumulation_steps == 2
    assert training.plan.gradient_accumulation_steps == 8
    rewarded = replace(training, reward=lambda lines, answers: [1.0 for _ in answers])
    assert len(probe_of(rewarded).train) == 2 * 8 * 2
    assert probe_of(rewarded).reward([3], [[1]]) == [0.0]
    assert (probe.resume_from, probe.samples) == (None, ())
    assert probe.steps_total == probe.evaluation_steps == 3
