"""Real runs in real processes forked from a real fork server."""

import asyncio
import json
import os
import shutil
import signal
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import psutil
import pytest
from attune.spec.v1.evaluation_pb2 import EvaluationReport
from google.protobuf.json_format import ParseDict

from services.common.artefacts import Artefacts, read_manifest
from services.common.processes import ProcessFolder
from services.trainer.attempt import LOG, MESSAGES, METRICS, SAMPLES, Attempt
from services.trainer.fork_server import ForkServer
from services.trainer.run import ExitCode, Phase
from tests.trainer import tiny

pytestmark = pytest.mark.system

TIMEOUT_S = 120.0


class Runs:
    """Starts attempts at one run."""

    def __init__(self, tmp_path: Path, forks: ForkServer, revision: str) -> None:
        self.root = tmp_path
        self.artefacts = Artefacts(tmp_path / "artefacts")
        self.forks = forks
        self.revision = revision

    def spec(self, rows=None, **changes):
        train = tiny.put_rows(self.artefacts, rows or tiny.rows(72))
        holdout = tiny.put_rows(self.artefacts, tiny.rows(10))
        return tiny.a_spec(self.revision, train, holdout, **changes)

    async def start(self, spec, fence: int = 1, **changes):
        manifest = replace(tiny.a_manifest(self.root, spec, fence), **changes)
        attempt = Attempt.create(self.artefacts.attempt(manifest.run_id, fence), manifest)
        return attempt, await self.forks.start_run(attempt.folder)

    async def finish(self, spec, fence: int = 1, **changes):
        attempt, run = await self.start(spec, fence, **changes)
        return attempt, await asyncio.wait_for(run.wait(), TIMEOUT_S)


@pytest.fixture
def runs(tmp_path: Path, forks: ForkServer, revision: str) -> Runs:
    return Runs(tmp_path, forks, revision)


def trained_steps(attempt: Attempt) -> list[int]:
    lines, _ = attempt.lines(METRICS, 0)
    return [line["step"] for line in lines if "loss" in line["values"]]


def messages(attempt: Attempt) -> str:
    return "\n".join(line["text"] for line in attempt.lines(MESSAGES, 0)[0])


def until_written(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text()


async def until(condition) -> None:
    """Wait for what another process does; there is no event to await."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_run_goes_through_all_phases_and_publishes_an_adapter(runs):
    spec = runs.spec()
    attempt, code = await runs.finish(spec)
    assert code == ExitCode.SUCCEEDED, (attempt.folder / LOG).read_text()
    assert [timing.phase for timing in attempt.phases()] == list(Phase)
    assert all(timing.end_time for timing in attempt.phases())

    folder = runs.artefacts.adapter(attempt.result(Phase.REGISTER)["adapter_sha256"])
    assert read_manifest(folder)["spec_hash"] == spec.hash
    assert sha256((folder / "MANIFEST.json").read_bytes()).hexdigest() == folder.name
    assert (folder / "spec.json").read_bytes() == spec.approval.canonical_spec
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == tiny.MODEL
    assert str(runs.root) not in json.dumps(config)
    report = ParseDict(json.loads((folder / "report.json").read_text()), EvaluationReport())
    assert report.holdout_row_count == len(report.examples) == 10
    assert report.interval_low <= report.difference <= report.interval_high
    assert [one.aggregate for one in report.criteria] == ["mean", "macro_f1"]
    assert report.criteria[0].tuned_score == pytest.approx(report.tuned_score)
    assert "Loss on the general text" in messages(attempt)
    assert len(attempt.lines(SAMPLES, 0)[0]) == 10
    assert not (attempt.folder / "scratch").exists()
    training = attempt.result(Phase.TRAIN)
    # 65 rows are learnt, 8 per step, twice: 18 steps, evaluated every 4 and at the end.
    assert training["steps_total"] == training["step_count"] == 18
    assert trained_steps(attempt) == list(range(1, 19))
    kept = sorted(path.name for path in attempt.checkpoints.iterdir())
    assert {"step-00000016", "step-00000018"} <= set(kept)
    assert len(kept) <= 3


async def test_parity_lines_are_greedy_answers_with_their_probabilities(runs, saved_model):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    attempt, _ = await runs.finish(runs.spec())
    folder = runs.artefacts.adapter(attempt.result(Phase.REGISTER)["adapter_sha256"])
    lines = [json.loads(text) for text in (folder / "parity.jsonl").read_text().splitlines()]
    assert len(lines) == 12
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(saved_model), folder)
    for line in lines:
        prompt, answer = line["prompt_token_ids"], line["answer_token_ids"]
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        assert logits.argmax(-1).tolist() == answer
        scores = torch.log_softmax(logits, -1).gather(1, torch.tensor(answer)[:, None])[:, 0]
        assert line["logprobs"] == pytest.approx(scores.tolist(), abs=1e-4)
        assert "</s>" not in line["answer"]
        assert {"messages", "answer"} <= set(line)


async def test_a_killed_run_resumes_and_repeats_at_most_one_interval(runs):
    spec = runs.spec(epoch_count=6.0)
    first, run = await runs.start(spec)
    await until(lambda: (first.checkpoints / "step-00000012" / "MANIFEST.json").exists())
    os.kill(run.pid, signal.SIGKILL)
    assert await run.wait() == -signal.SIGKILL
    last = trained_steps(first)[-1]

    second, code = await runs.finish(spec, fence=2)
    assert code == ExitCode.SUCCEEDED
    resumed = second.result(Phase.TRAIN)["resumed_step"]
    assert 12 <= resumed <= last
    repeated = set(trained_steps(first)) & set(trained_steps(second))
    assert len(repeated) <= 4  # 4 steps are one checkpoint interval.
    assert trained_steps(second)[-1] == 54
    # What the first attempt had finished was taken over, not done again.
    assert second.result(Phase.BASELINE) == first.result(Phase.BASELINE)
    assert not second.checkpoints.joinpath("step-00000012").exists()


async def test_resuming_leads_to_the_same_weights_as_never_stopping(runs, tmp_path):
    spec = runs.spec()
    whole, _ = await runs.finish(spec)
    expected = whole.result(Phase.TRAIN)
    (runs.artefacts.run("j1-s0")).rename(tmp_path / "whole")

    first, run = await runs.start(spec)
    await until(lambda: (first.checkpoints / "step-00000008" / "MANIFEST.json").exists())
    os.kill(run.pid, signal.SIGKILL)
    await run.wait()
    second, _ = await runs.finish(spec, fence=2)
    found = second.result(Phase.TRAIN)
    assert found["best_step"] == expected["best_step"]
    assert found["best_eval_loss"] == pytest.approx(expected["best_eval_loss"], abs=1e-5)


async def test_a_run_that_died_after_its_last_step_trains_no_further(runs):
    spec = runs.spec(epoch_count=1.5)
    first, _ = await runs.finish(spec)
    for phase in (Phase.TRAIN, Phase.EVALUATE, Phase.REGISTER):
        (first.folder / f"{phase.key}.json").unlink()
    second, code = await runs.finish(spec, fence=2)
    assert code == ExitCode.SUCCEEDED
    assert trained_steps(second) == []
    assert second.result(Phase.TRAIN)["best"].startswith("attempt-000001/")
    assert second.result(Phase.TRAIN)["step_count"] == 14


async def test_a_broken_newest_checkpoint_is_left_out_and_named(runs):
    spec = runs.spec(epoch_count=6.0)
    first, run = await runs.start(spec)
    await until(lambda: (first.checkpoints / "step-00000012" / "MANIFEST.json").exists())
    os.kill(run.pid, signal.SIGKILL)
    await run.wait()
    newest = max(path for path in first.checkpoints.glob("step-*"))
    (newest / "optimizer.pt").write_bytes(b"broken")
    second, code = await runs.finish(spec, fence=2)
    assert code == ExitCode.SUCCEEDED
    assert second.result(Phase.TRAIN)["resumed_step"] < int(newest.name.removeprefix("step-"))
    assert f"{newest.name} of attempt-000001 is broken" in messages(second)


async def test_a_diverging_run_stops_with_the_reason(runs):
    attempt, code = await runs.finish(runs.spec(learning_rate=1e30))
    assert code == ExitCode.FAILED
    assert attempt.error()["reason"] == "DIVERGED"
    assert "nan" in attempt.error()["message"]
    assert "learning rate" in attempt.error()["message"]
    assert attempt.result(Phase.TRAIN) is None


async def test_a_loss_beyond_all_reason_is_divergence_too(runs, saved_model, tmp_path):
    from safetensors.torch import load_file, save_file

    wild = shutil.copytree(saved_model, tmp_path / "wild")
    weights = load_file(wild / "model.safetensors")
    weights["model.embed_tokens.weight"] *= 100  # Very sure of the wrong tokens.
    save_file(weights, wild / "model.safetensors", metadata={"format": "pt"})
    runs.revision = tiny.put_model(runs.artefacts, wild)
    attempt, code = await runs.finish(runs.spec(learning_rate=1e-6))
    assert (code, attempt.error()["reason"]) == (ExitCode.FAILED, "DIVERGED")
    assert "guessing blindly" in attempt.error()["message"]


async def test_rows_that_would_train_nothing_stop_the_run_when_they_are_many(runs):
    silent = tiny.row("colour", "red")
    silent["messages"][0]["content"] = "red " * 80
    rows = tiny.rows(60) + [silent] * 12
    attempt, code = await runs.finish(runs.spec(rows))
    assert code == ExitCode.FAILED
    assert attempt.error()["reason"] == "NO_TRAINABLE_TOKENS"
    assert "12 of 72 rows" in attempt.error()["message"]


async def test_a_few_such_rows_are_left_out_and_said(runs):
    silent = tiny.row("colour", "red")
    silent["messages"][0]["content"] = "red " * 80
    attempt, code = await runs.finish(runs.spec([*tiny.rows(70), silent, silent], epoch_count=0.5))
    assert code == ExitCode.SUCCEEDED
    result = attempt.result(Phase.VALIDATE)
    assert result["useless_row_count"] == 2
    assert result["train_row_count"] + result["validation_row_count"] == 70
    assert "2 of 72 rows" in messages(attempt)


async def test_changed_rows_and_a_changed_spec_are_refused(runs):
    spec = runs.spec()
    path = runs.artefacts.dataset(spec.data.dataset_sha256)
    path.write_bytes(path.read_bytes() + b"\n")
    attempt, code = await runs.finish(spec)
    assert (code, attempt.error()["reason"]) == (ExitCode.FAILED, "DATASET_CHANGED")
    spec = runs.spec()
    spec.approval.canonical_spec += b"x"
    attempt, code = await runs.finish(spec, fence=2)
    assert (code, attempt.error()["reason"]) == (ExitCode.FAILED, "SPEC_CHANGED")


async def test_a_cancelled_run_stops_within_a_step(runs):
    attempt, run = await runs.start(runs.spec(epoch_count=100.0))
    await until(lambda: until_written(attempt.folder / METRICS, '"step": 3'))
    run.cancel()
    assert await asyncio.wait_for(run.wait(), TIMEOUT_S) == ExitCode.CANCELLED
    assert attempt.result(Phase.TRAIN) is None


async def test_a_paused_run_writes_a_checkpoint_and_the_next_attempt_goes_on_from_it(
    runs, tmp_path
):
    spec = runs.spec()
    whole, _ = await runs.finish(spec)
    expected = whole.result(Phase.TRAIN)
    (runs.artefacts.run("j1-s0")).rename(tmp_path / "whole")

    first, run = await runs.start(spec)
    await until(lambda: until_written(first.folder / METRICS, '"step": 5'))
    run.pause()
    assert await asyncio.wait_for(run.wait(), TIMEOUT_S) == ExitCode.PAUSED
    last = trained_steps(first)[-1]
    newest = max(path.name for path in first.checkpoints.iterdir())
    assert newest == f"step-{last:08d}"
    assert "Halted as asked" in messages(first)

    second, code = await runs.finish(spec, fence=2)
    assert code == ExitCode.SUCCEEDED
    assert second.result(Phase.TRAIN)["resumed_step"] == last
    assert set(trained_steps(first)) & set(trained_steps(second)) == set()
    found = second.result(Phase.TRAIN)
    assert found["best_step"] == expected["best_step"]
    assert found["best_eval_loss"] == pytest.approx(expected["best_eval_loss"], abs=1e-5)


async def test_a_base_that_meets_the_target_asks_once_and_does_nothing_twice(runs):
    spec = runs.spec()
    # A random model scores nothing, which is all that is wanted here.
    spec.objective.success_criteria[0].target = 0.0
    first, code = await runs.finish(spec)
    assert code == ExitCode.PAUSED
    question = first.question()
    assert question.reason == "TARGET_MET"
    assert set(question.figures) == {"base_score", "few_shot_score", "target"}
    assert question.message in messages(first)
    assert first.result(Phase.BASELINE)["base_answers"]
    assert not first.checkpoints.exists()

    second, code = await runs.finish(spec, fence=2, waived_reasons=("TARGET_MET",))
    assert code == ExitCode.SUCCEEDED, (second.folder / LOG).read_text()
    assert second.question() is None
    assert second.result(Phase.BASELINE) == first.result(Phase.BASELINE)
    assert "Goes on as decided." in messages(second)


async def test_a_run_whose_pipe_closes_ends_at_once_and_writes_nothing_more(runs):
    attempt, run = await runs.start(runs.spec(epoch_count=100.0))
    await until(lambda: until_written(attempt.folder / METRICS, '"step": 3'))
    await run.abandon()
    assert not psutil.pid_exists(run.pid)
    assert attempt.result(Phase.TRAIN) is None


async def test_training_stops_when_patience_ends_and_keeps_the_best(runs):
    attempt, code = await runs.finish(
        runs.spec(epoch_count=30.0, learning_rate=0.05, early_stopping_patience=2)
    )
    assert code == ExitCode.SUCCEEDED
    training = attempt.result(Phase.TRAIN)
    assert training["step_count"] < training["steps_total"]
    assert "without improvement" in messages(attempt)
    lines = attempt.lines(METRICS, 0)[0]
    losses = [line["values"]["eval_loss"] for line in lines if "eval_loss" in line["values"]]
    assert training["best_eval_loss"] == min(losses)
    assert training["best"].endswith(f"step-{training['best_step']:08d}")


async def test_a_run_leads_its_session_and_is_recorded_and_bound_to_its_cores(runs):
    attempt, run = await runs.start(runs.spec(epoch_count=100.0))
    await until(lambda: until_written(attempt.folder / METRICS, '"step": 1'))
    record = ProcessFolder(runs.root / "home").find("run-j1-s0")
    assert record.pid == run.pid == os.getsid(run.pid)
    assert psutil.Process(run.pid).cpu_affinity() == [0]
    await run.abandon()
    assert not record.is_alive()
