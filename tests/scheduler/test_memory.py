"""Predicted memory: by hand, against public measurements, and its direction."""

import pytest
from attune.spec.v1.stage_pb2 import Method

from services.scheduler.memory import Layout, estimate_memory
from services.scheduler.profile import lora_parameter_count
from tests.scheduler.factories import CATALOGUE

CPU = CATALOGUE.profiles["cpu"]
A100 = CATALOGUE.profiles["a100-80gb"]
STARTER = CATALOGUE.shapes["attune/starter"]
LLAMA = CATALOGUE.shapes["meta-llama/Llama-3.1-8B"]
LORA, FULL = Method.METHOD_LORA, Method.METHOD_FULL
QKVO = ["q_proj", "k_proj", "v_proj", "o_proj"]


def expected(shape=STARTER, method=LORA, rank=16, targets=("all-linear",), profile=CPU, **layout):
    values = {"micro_batch_size": 4, "max_token_count": 128, "gradient_checkpointing": False}
    layout = Layout(**{**values, **layout})
    return estimate_memory(shape, method, rank, list(targets), profile, layout)


def test_starter_by_hand():
    """Check the starter, micro-batch 4 of 128 tokens, LoRA of rank 16, float32.

    T = 512 tokens, L = 4, h = 128, f = 384, V = 2,048, P = 1,115,264.
    weights      4 P                                            = 4,461,056
    adapter      L r (2h + 2h + 2h + 2h + 3 (h + f)) x 16
                 = 4 x 16 x 2,560 x 16                          = 2,621,440
    activations  40 x (0.5 + 0.5 x 3 / 3.5) x L h T x 2 (float32)
                 = 40 x 0.928571 x 4 x 128 x 512 x 2            = 19,473,554
    logits       T (12 V + 6 h) = 512 x 25,344                  = 12,976,128
    runtime                                                     = 900,000,000
    """
    estimate = expected()
    sizes = {part.title: part.size_bytes for part in estimate.components}
    assert sizes == {
        "weights": 4_461_056,
        "adapter and optimizer": 2_621_440,
        "activations": 19_473_554,
        "logits": 12_976_128,
        "runtime": 900_000_000,
    }
    assert estimate.expected_bytes == sum(sizes.values())


def test_lora_of_llama_3_8b_has_the_published_size():
    assert lora_parameter_count(LLAMA, 16, QKVO) == 13_631_488


@pytest.mark.parametrize(("rows", "measured_gb"), [(4, 37.64), (8, 59.02)])
def test_llama_3_8b_lora_is_within_its_bounds_of_public_measurements(rows, measured_gb):
    """Compare with IBM's fms-acceleration rows on A100-80GB, 4,096 tokens, checkpointing.

    They use a cross-entropy that holds 8 bytes per logit where the plain one holds 12.
    """
    estimate = expected(
        LLAMA,
        targets=QKVO,
        profile=A100,
        micro_batch_size=rows,
        max_token_count=4096,
        gradient_checkpointing=True,
    )
    spared = 4 * LLAMA.vocabulary_size * rows * 4096
    assert (estimate.expected_bytes - spared) / 1e9 == pytest.approx(measured_gb, rel=0.05)


def test_more_of_anything_needs_more():
    base = expected().expected_bytes
    assert expected(micro_batch_size=8).expected_bytes > base
    assert expected(max_token_count=256).expected_bytes > base
    assert expected(rank=32).expected_bytes > base
    assert expected(method=FULL).expected_bytes > base


def test_less_where_it_is_spared():
    plain = expected(LLAMA, profile=A100, max_token_count=2048)
    sparing = {"max_token_count": 2048, "gradient_checkpointing": True}
    assert expected(LLAMA, profile=A100, **sparing).expected_bytes < plain.expected_bytes
    qlora = expected(LLAMA, method=Method.METHOD_QLORA, profile=A100, max_token_count=2048)
    assert qlora.expected_bytes < plain.expected_bytes


def test_bounds_enclose_the_sum_and_the_largest_part_comes_first():
    estimate = expected()
    assert estimate.low_bytes < estimate.expected_bytes < estimate.high_bytes
    sizes = [part.size_bytes for part in estimate.components]
    assert sizes == sorted(sizes, reverse=True)
    assert estimate.components[0].title == "runtime"


def test_unknown_target_module_counts_as_all_linear_layers():
    everything = lora_parameter_count(LLAMA, 8, ["all-linear"])
    assert lora_parameter_count(LLAMA, 8, ["Wqkv"]) == everything
    assert lora_parameter_count(LLAMA, 8, ["q_proj"]) < everything
