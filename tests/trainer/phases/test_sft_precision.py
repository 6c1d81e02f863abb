"""A run computes in the number format that its plan was reckoned with."""

import pytest
from attune.spec.v1.compute_pb2 import ParallelPlan
from attune.spec.v1.stage_pb2 import Method

from tests.trainer import tiny


@pytest.mark.parametrize(
    ("precision", "name"),
    [
        (ParallelPlan.PRECISION_FLOAT32, "float32"),
        (ParallelPlan.PRECISION_BFLOAT16, "bfloat16"),
        (ParallelPlan.PRECISION_FLOAT16, "float16"),
    ],
)
def test_the_base_and_its_passes_have_the_precision_of_the_plan(tmp_path, precision, name):
    import torch

    from services.trainer.recipes import model, sft
    from services.trainer.recipes.training import Training

    plan = ParallelPlan(micro_batch_size=1, gradient_accumulation_steps=8, precision=precision)
    training = Training(
        model_folder=tmp_path,
        method=Method.METHOD_LORA,
        hyperparameters=tiny.a_spec("m", "t", "h").stages[0].hyperparameters,
        plan=plan,
        train=[],
        validation=[],
        output_folder=tmp_path,
        resume_from=None,
        use_cuda=False,
        steps_total=10,
        evaluation_steps=5,
        logging_steps=1,
        warmup_steps=1,
    )
    made = sft.config(training)
    assert (made.bf16, made.fp16) == (name == "bfloat16", name == "float16")
    assert model.dtype_of(plan) is getattr(torch, name)
