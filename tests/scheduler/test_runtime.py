"""Predicted times: by hand and in their direction."""

from dataclasses import replace

import pytest
from attune.spec.v1.stage_pb2 import Method

from services.scheduler.memory.anatomy import read_anatomy
from services.scheduler.runtime import (
    Batching,
    Workload,
    estimate_time,
    step_count,
    step_s,
    used_parameter_count,
)
from tests.scheduler.factories import CATALOGUE

CPU, H100 = CATALOGUE.profiles["cpu"], CATALOGUE.profiles["h100-80gb"]
STARTER = CATALOGUE.shapes["attune/starter"]
LLAMA = CATALOGUE.shapes["meta-llama/Llama-3.1-8B"]
WORK = Workload(
    train_row_count=540,
    validation_row_count=60,
    holdout_row_count=150,
    mean_token_count=100,
    max_token_count=200,
    epoch_count=3,
    effective_batch_size=16,
    evaluations_per_epoch=2,
    max_answer_tokens=64,
)
LORA, FULL = Method.METHOD_LORA, Method.METHOD_FULL


def time_of(shape=STARTER, method=LORA, profile=CPU, work=WORK, batching=None):
    return estimate_time(shape, method, profile, work, batching or Batching(1, 16, False))


@pytest.mark.parametrize(
    ("rows", "epochs", "micro", "accumulation", "expected"),
    [
        (540, 3, 16, 1, 102),  # 34 a pass: the last step of an epoch has 12 rows.
        (540, 3, 4, 4, 102),
        (16, 1, 16, 1, 1),
        (1, 1, 16, 1, 1),
        (160, 0.5, 16, 1, 5),
        (100, 2.5, 8, 2, 18),
    ],
)
def test_steps_are_counted_as_the_trainer_counts(rows, epochs, micro, accumulation, expected):
    work = replace(WORK, train_row_count=rows, epoch_count=epochs)
    assert step_count(work, Batching(micro, accumulation, False)) == expected


def test_step_by_hand():
    """Check one step of 16 passes over one row of 100 tokens with LoRA on a processor core.

    One pass: 100 x (4 x 1,115,264 + 6 x 4 x 128 x 100) = 476,825,600 operations
    at 22e9 a second = 0.0216739 s, and 4 layers x 0.0075 s = 0.03 s; 16 passes 0.8267821 s.
    """
    assert time_of().step_s == pytest.approx(0.826782, abs=1e-6)


def test_stage_is_longer_than_its_steps():
    estimate = time_of()
    assert estimate.expected_s > estimate.step_count * estimate.step_s


def test_scoring_grows_with_the_answers():
    longer = replace(WORK, max_answer_tokens=128)
    assert time_of(work=longer).expected_s > time_of().expected_s
    assert time_of(work=longer).step_s == time_of().step_s


def test_more_work_takes_longer():
    base = time_of(LLAMA, profile=H100)
    assert time_of(LLAMA, FULL, H100).step_s > base.step_s
    recomputed = Batching(1, 16, True)
    assert time_of(LLAMA, profile=H100, batching=recomputed).step_s > base.step_s
    assert time_of(LLAMA, profile=CPU).step_s > base.step_s
    assert time_of(LLAMA, profile=H100, work=replace(WORK, epoch_count=6)).step_count == 204


def test_large_micro_batches_spare_the_fixed_time():
    assert time_of(batching=Batching(16, 1, False)).step_s < time_of().step_s


def test_tokens_per_second_are_those_of_a_step():
    estimate = time_of(batching=Batching(1, 16, False))
    assert estimate.tokens_per_s == pytest.approx(16 * 100 / estimate.step_s)


def test_cost_is_time_times_price_times_devices():
    estimate = time_of(LLAMA, profile=H100)
    hourly = H100.price_micro_usd_per_hour
    cost = estimate.cost_micro_usd(hourly, 2)
    assert cost == pytest.approx(estimate.expected_s / 3600 * hourly * 2, abs=1)
    assert estimate.high_s > estimate.expected_s


def test_only_the_experts_that_a_token_is_sent_to_cost_time():
    mixture = read_anatomy(CATALOGUE.shapes["Qwen/Qwen3-30B-A3B"])
    assert used_parameter_count(mixture) == pytest.approx(3.04e9, rel=0.02)
    dense = read_anatomy(LLAMA)
    assert used_parameter_count(dense) == dense.parameter_count - dense.embedding_count


def test_devices_share_the_rows_and_pay_for_what_they_exchange():
    alone, split = Batching(2, 8, True), Batching(2, 4, True, device_count=2, sharded=True)
    assert step_count(WORK, alone) == step_count(WORK, split)
    one = time_of(LLAMA, profile=H100, batching=alone).step_s
    two = time_of(LLAMA, profile=H100, batching=split).step_s
    assert one / 2 < two < one
    bus = replace(H100, link_bytes_per_s=0.0)
    assert time_of(LLAMA, profile=bus, batching=split).step_s > two


@pytest.mark.parametrize(
    ("method", "rows", "measured"),
    [(LORA, 4, 3597.6), (LORA, 8, 3632.4), (FULL, 4, 2775.2), (FULL, 8, 3048.6)],
)
def test_mistral_7b_is_near_public_measurements(method, rows, measured):
    """Compare with IBM's fms-acceleration rows: A100-80GB, 4,096 tokens, checkpointing."""
    shape = CATALOGUE.shapes["mistralai/Mistral-7B-v0.3"]
    batching = Batching(rows, 1, True)
    taken = step_s(shape, method, CATALOGUE.profiles["a100-80gb"], batching, 4096)
    assert rows * 4096 / taken == pytest.approx(measured, rel=0.2)
