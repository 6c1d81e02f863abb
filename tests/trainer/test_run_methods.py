"""Whole runs of other methods and rows, in real processes, and what becomes of their results."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from attune.spec.v1.stage_pb2 import Method

from services.common.artefacts import file_sha256, read_manifest
from services.trainer.models.base_models import find_local
from services.trainer.run import ExitCode, Phase
from tests.trainer import tiny
from tests.trainer.data.test_masks import TOOL_TEMPLATE
from tests.trainer.runs import TIMEOUT_S, Runs, messages

pytestmark = pytest.mark.system


@pytest.fixture
def runs(tmp_path: Path, forks, artefacts, revision: str) -> Runs:
    return Runs(tmp_path, forks, artefacts, revision)


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

    report = attempt.result(Phase.EVALUATE)["report"]
    assert report["tuned_score"] > report["base_score"]

    registered = attempt.result(Phase.REGISTER)
    folder = runs.artefacts.merged(registered["merged_sha256"])
    facts = read_manifest(folder)
    assert (facts["method"], facts["spec_hash"]) == ("METHOD_FULL", spec.hash)
    assert {path.suffix for path in folder.iterdir()} <= {
        ".safetensors",
        ".json",
        ".jsonl",
        ".jinja",
        ".md",
        ".html",
    }
    assert str(runs.root) not in (folder / "config.json").read_text()
    assert file_sha256(folder / "model.safetensors") != file_sha256(
        saved_model / "model.safetensors"
    )
    shape, base = find_local(runs.artefacts, registered["base_model"])
    assert read_manifest(base)["id"] == shape.id == f"merged/{folder.name[:12]}"
    assert shape.revision == folder.name
    assert len((folder / "parity.jsonl").read_text().splitlines()) == 12


async def test_an_adapter_with_magnitudes_says_that_only_merging_serves_it(runs):
    attempt = await runs.finish(runs.spec(Method.METHOD_DORA))
    adapter_sha256 = attempt.result(Phase.REGISTER)["adapter_sha256"]
    folder = runs.artefacts.adapter(adapter_sha256)
    facts = read_manifest(folder)
    assert (facts["merged_only"], facts["method"]) == (True, "METHOD_DORA")
    assert json.loads((folder / "adapter_config.json").read_text())["use_dora"]
    made = await runs.merge(adapter_sha256)
    assert "adapter_config.json" not in os.listdir(runs.artefacts.merged(made["merged_sha256"]))


async def test_text_is_learnt_and_measured_by_its_loss(runs):
    words = tiny.WORDS.split()
    texts = [{"text": " ".join(words[at % 9 :: 3] + words[: at % 7 + 2])} for at in range(63)]
    attempt = await runs.finish(runs.spec(content=texts, learning_rate=1e-2, packing=True))
    (said,) = [line for line in messages(attempt).splitlines() if "held-out text" in line]
    before, after = (float(word) for word in said.replace(",", "").split() if "." in word[:-1])
    assert after < 0.9 * before


async def test_calls_of_tools_are_learnt_and_leave_a_parity_file(runs, tmp_path):
    model = tmp_path / "tools"
    tiny.save_model(model)
    (model / "chat_template.jinja").write_text(TOOL_TEMPLATE)
    runs.revision = tiny.put_model(runs.artefacts, model)
    names = tiny.WORDS.split()
    rows = [called(names[at % 9], at) for at in range(40)]
    attempt = await runs.finish(runs.spec(content=rows, max_length=200, epoch_count=1.0))
    assert attempt.result(Phase.VALIDATE)["useless_row_count"] == 0
    folder = runs.artefacts.adapter(attempt.result(Phase.REGISTER)["adapter_sha256"])
    lines = [json.loads(line) for line in (folder / "parity.jsonl").read_text().splitlines()]
    assert lines
    for line in lines:
        assert [message["role"] for message in line["messages"]] == ["user"]


def called(name: str, number: int) -> dict[str, object]:
    """Return a row in which a tool is called before the answer."""
    call = {"type": "function", "function": {"name": "say", "arguments": json.dumps({"a": name})}}
    return {
        "messages": [
            {"role": "user", "content": f"{name} {number}"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "content": name},
            {"role": "assistant", "content": name},
        ],
        "tools": [{"type": "function", "function": {"name": "say", "parameters": {}}}],
    }


async def test_four_bits_without_a_gpu_end_the_run_with_the_reason(runs):
    spec = runs.spec(Method.METHOD_QLORA)
    attempt, run = await runs.start(spec)
    assert await asyncio.wait_for(run.wait(), TIMEOUT_S) == ExitCode.FAILED
    error = attempt.error()
    assert error["reason"] == "UNSUPPORTED_METHOD"
    assert "METHOD_QLORA needs a CUDA GPU" in error["message"]
