"""What several devices cannot train together is refused before a step is trained."""

import pytest
from attune.spec.v1.compute_pb2 import ParallelPlan
from attune.spec.v1.stage_pb2 import Method, Technique

from services.trainer.phases.validate import check_gang
from services.trainer.run import RunFailed
from tests.trainer import tiny, tiny_rl

FSDP = ParallelPlan(sharding=ParallelPlan.SHARDING_FSDP)
WHOLE = ParallelPlan(sharding=ParallelPlan.SHARDING_NONE)


def refusal(stage, plan, *, use_cuda=True) -> RunFailed:
    with pytest.raises(RunFailed) as caught:
        check_gang(stage, plan, use_cuda=use_cuda)
    return caught.value


@pytest.mark.parametrize("technique", [Technique.TECHNIQUE_RLVR, Technique.TECHNIQUE_RLAIF])
def test_answers_are_not_sampled_from_sharded_weights(technique):
    (stage,) = tiny_rl.a_spec("m", "t", "h", technique=technique).stages
    check_gang(stage, WHOLE, use_cuda=True)
    found = refusal(stage, FSDP)
    assert found.reason == "UNSUPPORTED_SHARDING"
    assert "parallel_plan.sharding is SHARDING_FSDP" in found.message
    assert "Choose a smaller base model" in found.message


def test_weights_of_four_bits_are_not_sharded():
    (stage,) = tiny.a_spec("m", "t", "h").stages
    check_gang(stage, FSDP, use_cuda=True)
    stage.method = Method.METHOD_QLORA
    check_gang(stage, WHOLE, use_cuda=True)
    assert "Choose METHOD_LORA" in refusal(stage, FSDP).message


def test_weights_are_not_sharded_over_processors():
    (stage,) = tiny.a_spec("m", "t", "h").stages
    check_gang(stage, WHOLE, use_cuda=False)
    assert "Use GPUs" in refusal(stage, FSDP, use_cuda=False).message


@pytest.mark.parametrize("loss", ["aot", "aot_unpaired"])
def test_a_loss_that_sorts_a_micro_batch_is_not_split(loss):
    (stage,) = tiny.a_preference_spec("m", "t", "h").stages
    check_gang(stage, WHOLE, use_cuda=True)
    stage.hyperparameters.dpo.loss_type = loss
    found = refusal(stage, WHOLE)
    assert found.reason == "UNSUPPORTED_LOSS"
    assert f"hyperparameters.dpo.loss_type is {loss}" in found.message
