import pytest

from services.common.errors import FailedPrecondition, Unavailable
from services.serving.registry import proof
from services.serving.registry.parity import ParityReport
from services.serving.registry.version import lineage_of
from tests.serving.parts import a_job, a_line, an_adapter


async def test_an_adapter_that_the_engine_reproduces_is_ready(parts):
    lines = [a_line(f"question {number}") for number in range(20)]
    version = await parts.ready(lines=lines)
    assert version.state == "READY"
    assert version.parity == ParityReport(20, 0, 0, 0.0, 0.01)


async def test_the_engine_answers_as_far_as_the_trainer_did(parts):
    assert (await parts.ready(lines=[a_line()])).state == "READY"
    asked = [
        one for one in (await parts.test())["requests"] if one["messages"] == a_line()["messages"]
    ]
    assert [one["max_tokens"] for one in asked] == [len(a_line()["answer_token_ids"])]


async def test_other_log_probabilities_are_rejected_with_the_figures(parts):
    version = await parts.ready(fault={"logprob_shift": 0.5})
    assert version.state == "REJECTED"
    assert version.parity.max_logprob_difference == pytest.approx(0.5)
    assert "0.5 nats" in version.state_reason


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"lines": []}, "0 lines"),
        ({"lines": [{"messages": []}]}, "line 1"),
        ({"fault": {"refuse": "shapes do not match"}}, "shapes do not match"),
        ({"lines": [a_line("x" * 3000)]}, "maximum context length"),
    ],
)
async def test_an_adapter_that_cannot_be_compared_is_rejected(parts, made, says):
    version = await parts.ready(**made)
    assert version.state == "REJECTED"
    assert says in version.state_reason
    assert version.parity is None or not version.parity.holds


async def test_files_that_changed_after_they_were_written_are_rejected(parts):
    adapter_sha256 = an_adapter(parts.artefacts)
    weights = parts.artefacts.adapter(adapter_sha256) / "adapter_model.safetensors"
    weights.write_bytes(b"changed")
    staged = await parts.versions.stage(lineage_of(a_job(adapter_sha256)), None)
    version = await parts.settled(staged.name)
    assert version.state == "REJECTED"
    assert "not those that were written" in version.state_reason


async def test_a_whole_model_is_proved_on_an_engine_of_its_own(parts):
    merged_sha256 = parts.trainer.publish("c" * 64)
    job = a_job("")
    job.result.merged_sha256 = merged_sha256
    staged = await parts.versions.stage(lineage_of(job), None)
    version = await parts.settled(staged.name)
    assert (version.state, version.adapter_sha256) == ("READY", "")
    assert parts.member(version.weights.model_id).engine.state == "READY"


@pytest.mark.parametrize(
    "made", [{"use_dora": True}, {"r": 64}, {"peft_type": "IA3"}, {"modules_to_save": ["lm_head"]}]
)
async def test_an_adapter_that_the_engine_cannot_hold_is_merged_and_proved_so(parts, made):
    version = await parts.ready(**made)
    assert version.state == "READY"
    assert not version.is_adapter
    assert version.merged_sha256 == parts.trainer.merged[version.adapter_sha256]
    assert version.adapter_sha256 not in (await parts.test())["loads"]


async def test_an_adapter_that_cannot_be_merged_either_is_rejected_with_both_reasons(parts):
    parts.trainer.refusal = FailedPrecondition("It holds no numbers.", reason="NO_NUMBERS")
    version = await parts.ready(use_dora=True)
    assert version.state == "REJECTED"
    assert "it uses DoRA" in version.state_reason
    assert "It holds no numbers." in version.state_reason


async def test_a_trainer_that_is_away_delays_what_must_be_merged_and_nothing_else(parts):
    parts.trainer.refusal = Unavailable("The trainer is away.", reason="AWAY")
    waiting = await parts.stage(use_dora=True)
    assert (await parts.ready()).state == "READY"
    assert (await parts.versions.get(waiting.name)).state == "STAGED"
    parts.trainer.refusal = None
    assert (await parts.settled(waiting.name)).state == "READY"


async def test_a_version_of_another_base_stays_staged_and_the_others_go_on(parts):
    waiting = await parts.stage(revision="r2")
    assert (await parts.ready()).state == "READY"
    assert (await parts.versions.get(waiting.name)).state == "STAGED"


async def test_an_adapter_that_ends_the_engine_is_to_blame_in_the_end(parts, monkeypatch):
    monkeypatch.setattr(proof, "DEATHS_MAX", 2)
    monkeypatch.setattr(proof, "RETRY_S", 0.05)
    version = await parts.ready(fault={"die": True})
    assert version.state == "REJECTED"
    assert "did not survive 2 attempts" in version.state_reason
    assert (await parts.ready()).state == "READY"


async def test_an_engine_that_dies_during_a_proof_does_not_reject_the_version(parts, monkeypatch):
    monkeypatch.setattr(proof, "RETRY_S", 0.05)
    await parts.test(mode="endless")
    staged = await parts.stage()
    while not (await parts.test())["requests"]:
        pass  # Every look is a request of its own; the proof goes on meanwhile.
    record = parts.processes.find("engine")
    parts.processes.end(record, 0)
    version = await parts.settled(staged.name)
    assert version.state == "READY"
    assert parts.engine.generation == 2
