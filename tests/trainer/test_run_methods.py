"""Whole runs of other methods and rows, in real processes, and what becomes of their results."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from attune.spec.v1.stage_pb2 import Method

from services.common.artefacts import file_sha256, read_manifest
from services.common.errors import FailedPrecondition, NotFound
from services.trainer.attempt import LOG, MESSAGES, Attempt
from services.trainer.base_models import find_local, list_local
from services.trainer.run import ExitCode, Phase
from tests.trainer import tiny

pytestmark = pytest.mark.system

TIMEOUT_S = 120.0


class Runs:
    """Starts attempts at runs under one root."""

    def __init__(self, root: Path, forks, artefacts, revision: str) -> None:
        self.root, self.forks, self.artefacts, self.revision = root, forks, artefacts, revision

    def spec(self, method: int = Method.METHOD_LORA, content=None, model="", **changes):
        train = tiny.put_rows(self.artefacts, content or tiny.rows(72))
        holdout = tiny.put_rows(self.artefacts, (content or tiny.rows(10))[:10])
        spec = tiny.a_spec(self.revision, train, holdout, **changes)
        spec.stages[0].method = method
        if method == Method.METHOD_FULL:
            spec.stages[0].hyperparameters.ClearField("lora")
        if model:
            shape, folder = find_local(self.artefacts, model)
            spec.base_model.id, spec.base_model.revision = shape.id, folder.name
        return tiny.approved(spec)

    async def start(self, spec, fence: int = 1, job: str = "j1"):
        manifest = tiny.a_manifest(self.root, spec, fence, job=job)
        attempt = Attempt.create(self.artefacts.attempt(manifest.run_id, fence), manifest)
        return attempt, await self.forks.start_run(attempt.folder)

    async def finish(self, spec, fence: int = 1, job: str = "j1"):
        attempt, run = await self.start(spec, fence, job)
        code = await asyncio.wait_for(run.wait(), TIMEOUT_S)
        assert code == ExitCode.SUCCEEDED, (attempt.error(), (attempt.folder / LOG).read_text())
        return attempt

    async def merge(self, adapter_sha256: str):
        return await self.forks.once(
            "services.trainer.merge", "merge_adapter", self.artefacts.root, adapter_sha256
        )


@pytest.fixture
def runs(tmp_path: Path, forks, artefacts, revision: str) -> Runs:
    return Runs(tmp_path, forks, artefacts, revision)


def messages(attempt: Attempt) -> str:
    return "\n".join(line["text"] for line in attempt.lines(MESSAGES, 0)[0])


async def test_all_weights_train_resume_and_become_a_model_that_is_at_hand(runs, saved_model):
    spec = runs.spec(Method.METHOD_FULL, epoch_count=6.0)
    first, run = await runs.start(spec)
    async with asyncio.timeout(TIMEOUT_S):
        while not (first.checkpoints / "step-00000012" / "MANIFEST.json").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    await run.wait()
    attempt = await runs.finish(spec, fence=2)
    training = attempt.result(Phase.TRAIN)
    assert training["resumed_step"] >= 12
    assert training["resolved"]["trainable_parameter_count"] > 50_000
    assert "Learns" in messages(attempt)

    registered = attempt.result(Phase.REGISTER)
    folder = runs.artefacts.merged(registered["merged_sha256"])
    facts = read_manifest(folder)
    assert (facts["method"], facts["spec_hash"]) == ("METHOD_FULL", spec.hash)
    assert {path.suffix for path in folder.iterdir()} <= {
        ".safetensors",
        ".json",
        ".jsonl",
        ".jinja",
    }
    assert str(runs.root) not in (folder / "config.json").read_text()
    assert file_sha256(folder / "model.safetensors") != file_sha256(
        saved_model / "model.safetensors"
    )
    shape, base = find_local(runs.artefacts, registered["base_model"])
    assert read_manifest(base)["id"] == shape.id == f"merged/{folder.name[:12]}"
    assert shape.revision == folder.name
    assert len((folder / "parity.jsonl").read_text().splitlines()) == 12


async def test_an_adapter_is_merged_once_and_the_model_is_trained_again(runs, tmp_path):
    first = await runs.finish(runs.spec(epoch_count=4.0, learning_rate=1e-2))
    adapter_sha256 = first.result(Phase.REGISTER)["adapter_sha256"]
    made = await runs.merge(adapter_sha256)
    again = await runs.merge(adapter_sha256)
    assert made == again
    folder = runs.artefacts.merged(made["merged_sha256"])
    assert read_manifest(folder)["adapter_sha256"] == adapter_sha256
    # Adapter and merged model say the same.
    adapter = runs.artefacts.adapter(adapter_sha256)
    before, after = (
        [json.loads(line) for line in (one / "parity.jsonl").read_text().splitlines()]
        for one in (adapter, folder)
    )
    assert [line["answer_token_ids"] for line in before] == [
        line["answer_token_ids"] for line in after
    ]
    for one, other in zip(before, after, strict=True):
        assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-4)
    assert made["base_model"] in [shape.id for shape in list_local(runs.artefacts)]

    second = await runs.finish(runs.spec(model=made["base_model"]), job="j2")
    base = first.result(Phase.EVALUATE)["report"], second.result(Phase.EVALUATE)["report"]
    # What the first training reached is where the second one began.
    assert base[1]["base_score"] == pytest.approx(base[0]["tuned_score"])
    facts = read_manifest(runs.artefacts.adapter(second.result(Phase.REGISTER)["adapter_sha256"]))
    assert facts["base_model"] == made["base_model"]
    assert facts["base_model_revision"] == made["merged_sha256"]


async def test_an_adapter_with_magnitudes_says_that_only_merging_serves_it(runs):
    attempt = await runs.finish(runs.spec(Method.METHOD_DORA))
    adapter_sha256 = attempt.result(Phase.REGISTER)["adapter_sha256"]
    folder = runs.artefacts.adapter(adapter_sha256)
    facts = read_manifest(folder)
    assert (facts["merged_only"], facts["method"]) == (True, "METHOD_DORA")
    assert json.loads((folder / "adapter_config.json").read_text())["use_dora"]
    made = await runs.merge(adapter_sha256)
    assert "adapter_config.json" not in os.listdir(runs.artefacts.merged(made["merged_sha256"]))


async def test_what_cannot_be_merged_is_refused_with_the_reason(runs, tmp_path):
    with pytest.raises(NotFound, match="There is no adapter aaaaaaaaaaaa"):
        await runs.merge("a" * 64)
    attempt = await runs.finish(runs.spec())
    adapter_sha256 = attempt.result(Phase.REGISTER)["adapter_sha256"]
    folder = runs.artefacts.adapter(adapter_sha256)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(FailedPrecondition, match="are not those of its manifest"):
        await runs.merge(adapter_sha256)


async def test_text_is_learnt_and_measured_by_its_loss(runs):
    words = tiny.WORDS.split()
    texts = [{"text": " ".join(words[at % 9 :: 3] + words[: at % 7 + 2])} for at in range(63)]
    attempt = await runs.finish(runs.spec(content=texts, learning_rate=1e-2, packing=True))
    (said,) = [line for line in messages(attempt).splitlines() if "held-out text" in line]
    before, after = (float(word) for word in said.replace(",", "").split() if "." in word[:-1])
    assert after < 0.9 * before


async def test_four_bits_without_a_gpu_end_the_run_with_the_reason(runs):
    spec = runs.spec(Method.METHOD_QLORA)
    attempt, run = await runs.start(spec)
    assert await asyncio.wait_for(run.wait(), TIMEOUT_S) == ExitCode.FAILED
    error = attempt.error()
    assert error["reason"] == "UNSUPPORTED_METHOD"
    assert "METHOD_QLORA needs a CUDA GPU" in error["message"]
