"""FSDP2 over gloo in two real processes, against one process that holds everything."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from attune.spec.v1.compute_pb2 import ParallelPlan
from attune.spec.v1.stage_pb2 import Method, Technique

from services.trainer.attempt import MESSAGES, Attempt
from services.trainer.gang import Gang
from services.trainer.phases.train import _say_when_laid_out_otherwise
from services.trainer.recipes.checkpoint_layout import SHARDED
from services.trainer.runtime.checkpoint import Checkpoint
from tests.trainer.gangs import train

pytestmark = pytest.mark.system

TOLERANCE = 1e-4
WEIGHTS = {
    Method.METHOD_LORA: "adapter_model.safetensors",
    Method.METHOD_FULL: "model.safetensors",
}


@pytest.fixture
def folder(tmp_path: Path, saved_model: Path) -> Path:
    shutil.copytree(saved_model, tmp_path / "model")
    return tmp_path


@pytest.mark.parametrize("method", [Method.METHOD_LORA, Method.METHOD_FULL])
@pytest.mark.parametrize("technique", [Technique.TECHNIQUE_SFT, Technique.TECHNIQUE_DPO])
def test_sharded_training_has_the_losses_of_one_process_and_goes_on(
    folder, forks, technique, method
):
    what = {"technique": technique, "method": method}
    (whole,) = train(folder, 1, "whole", **what)
    sharded, _ = train(folder, 2, "sharded", is_sharded=True, **what)
    assert sharded["losses"] == pytest.approx(whole["losses"], abs=TOLERANCE)
    assert len(sharded["losses"]) == 10
    # The mark by which TRAIN tells the two kinds of checkpoints apart.
    assert all(SHARDED in names for names in sharded["checkpoints"].values())
    assert not any(SHARDED in names for names in whole["checkpoints"].values())
    assert all(WEIGHTS[method] in names for names in sharded["checkpoints"].values())
    if technique == Technique.TECHNIQUE_DPO:
        margins, expected = (
            {step: values.get("rewards/margins") for step, values in one["numbers"].items()}
            for one in (sharded, whole)
        )
        assert margins == pytest.approx(expected, abs=TOLERANCE)
        assert margins["10"] > 0

    # Sharded or whole, a run goes on from either kind of checkpoint.
    rest = {step: loss for step, loss in whole["losses"].items() if int(step) > 4}
    for begun, size in (("sharded", 2), ("sharded", 1), ("whole", 2)):
        middle = str(folder / begun / "checkpoint-4")
        name = f"{begun}-then-{size}"
        again = train(folder, size, name, is_sharded=size > 1, resume_from=middle, **what)[0]
        assert again["begin"] == 4
        assert again["losses"] == pytest.approx(rest, abs=TOLERANCE), name


def test_a_checkpoint_laid_out_otherwise_is_taken_over_with_a_word(tmp_path):
    (tmp_path / SHARDED).touch()
    attempt = Attempt(tmp_path)
    newest = Checkpoint(tmp_path, 8, 1, 0.5)
    plan = ParallelPlan(sharding=ParallelPlan.SHARDING_FSDP)
    both = SimpleNamespace(gang=Gang(0, 2, 0, "h"), plan=plan, attempt=attempt)
    _say_when_laid_out_otherwise(both, newest)
    assert attempt.lines(MESSAGES, 0)[0] == []
    alone = SimpleNamespace(gang=None, plan=ParallelPlan(), attempt=attempt)
    _say_when_laid_out_otherwise(alone, newest)
    (said,) = attempt.lines(MESSAGES, 0)[0]
    assert "step 8 was written with weights sharded, and they are whole now" in said["text"]
