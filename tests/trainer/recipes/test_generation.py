"""A model answers in the form in which it is trained, so that what fits there fits here too."""

import pytest
import torch
from attune.spec.v1.compute_pb2 import ParallelPlan

from services.trainer.recipes.generation import Loading, form_of

BF16, FP16 = ParallelPlan.PRECISION_BFLOAT16, ParallelPlan.PRECISION_FLOAT16


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        (BF16, torch.bfloat16),
        (FP16, torch.float16),
        (ParallelPlan.PRECISION_FLOAT32, torch.float32),
    ],
)
def test_a_gpu_holds_a_base_that_answers_as_it_holds_one_that_is_trained(precision, dtype):
    assert form_of(Loading(True, precision)) == (dtype, None)


def test_a_quantised_base_answers_quantised_on_the_gpu_and_whole_on_a_processor():
    dtype, quantisation = form_of(Loading(True, BF16, is_quantised=True))
    assert dtype is torch.bfloat16
    assert quantisation.load_in_4bit
    assert quantisation.bnb_4bit_compute_dtype is torch.bfloat16
    assert form_of(Loading(False, BF16, is_quantised=True)) == (torch.float32, None)
