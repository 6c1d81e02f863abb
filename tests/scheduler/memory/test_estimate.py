"""Predicted memory: by hand, its direction, and its bounds."""

from dataclasses import replace

import pytest
import yaml
from attune.spec.v1.stage_pb2 import Method
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.memory import Layout, Training, estimate_memory, predict
from services.scheduler.memory.anatomy import layer_parameter_count, lora_count, read_anatomy
from services.scheduler.memory.library import TABLE, read_table
from services.scheduler.memory.training import (
    Attention,
    Format,
    Loss,
    Objective,
    Offload,
    Optimizer,
    Rollout,
    Sharding,
    Tuning,
)
from tests.scheduler.factories import CATALOGUE

CPU = CATALOGUE.profiles["cpu"]
A100 = CATALOGUE.profiles["a100-80gb"]
STARTER = CATALOGUE.shapes["attune/starter"]
LLAMA = CATALOGUE.shapes["meta-llama/Llama-3.1-8B"]
MIXTURE = CATALOGUE.shapes["Qwen/Qwen3-30B-A3B"]
LORA, FULL = Method.METHOD_LORA, Method.METHOD_FULL
QKVO = ("q_proj", "k_proj", "v_proj", "o_proj")


def expected(shape=STARTER, method=LORA, rank=16, targets=("all-linear",), profile=CPU, **layout):
    values = {"micro_batch_size": 4, "max_token_count": 128, "gradient_checkpointing": False}
    layout = Layout(**{**values, **layout})
    return estimate_memory(shape, method, rank, list(targets), profile, layout)


def a_training(shape=LLAMA, **changes):
    values = {
        "anatomy": read_anatomy(shape),
        "tuning": Tuning.LORA,
        "weights": Format.BFLOAT16,
        "micro_batch_size": 4,
        "token_count": 2048,
        "rank": 16,
        "targets": QKVO,
    }
    return Training(**{**values, **changes})


def peak(**changes):
    return predict(a_training(**changes)).expected_bytes


def test_starter_by_hand():
    """Check the starter in float32: one row of 128 tokens, LoRA of rank 16 on all linear layers.

    T = 128 tokens, L = 4, h = q = k = 128, f = 384, V = 2,048, P = 1,115,264.
    weights       4 P                                                   = 4,461,056
    adapter       L r (4 (2 h) + 3 (h + f)) = 163,840 parameters; weight and two moments
                  12 x 163,840                                          = 1,966,080
    activations   per layer and token: two norms 2 x 4 h                = 1,024
                  attention 4 (2 q + 2 k)                               = 2,048
                  feed-forward 4 x 3 f                                  = 4,608
                  what adapters read and nothing else saves, 4 (h + h + f) = 2,560
                  their dropout masks h x 6 + f                         = 1,152
                  what lies between their halves, 7 x 2 x 16 x 4        = 896
                  sum 12,288 x L x T                                    = 6,291,456
    logits        12 h T + a tile of 128 x 2,048 x 4                    = 1,245,184
    runtime                                                             = 900,000,000
    """
    estimate = expected(micro_batch_size=1)
    sizes = {part.title: part.size_bytes for part in estimate.components}
    assert sizes == {
        "weights": 4_461_056,
        "adapter and optimizer": 1_966_080,
        "activations": 6_291_456,
        "logits": 1_245_184,
        "runtime": 900_000_000,
    }
    assert estimate.expected_bytes == sum(sizes.values())


def test_lora_of_llama_3_8b_has_the_published_size():
    assert lora_count(read_anatomy(LLAMA), 16, QKVO) == 13_631_488


@pytest.mark.parametrize("model", sorted(CATALOGUE.shapes))
def test_widths_account_for_the_parameters(model):
    anatomy = read_anatomy(CATALOGUE.shapes[model])
    counted = anatomy.layer_count * layer_parameter_count(anatomy)
    counted += anatomy.embedding_count + anatomy.head_parameter_count
    assert counted == pytest.approx(anatomy.parameter_count, rel=0.01)


def test_a_tie_that_is_not_said_follows_from_the_parameters():
    for model in ("meta-llama/Llama-3.1-8B", "Qwen/Qwen2.5-0.5B"):
        shape = CATALOGUE.shapes[model]
        unsaid = type(shape).FromString(shape.SerializeToString())
        unsaid.ClearField("tied_embeddings")
        assert read_anatomy(unsaid).tied == shape.tied_embeddings


@pytest.mark.parametrize(
    ("rows", "loss", "measured_gb"),
    [
        (4, Loss.FUSED, 37.64),
        (8, Loss.FUSED, 59.02),
        (4, Loss.LINEAR, 24.91),
        (8, Loss.LINEAR, 33.57),
        (16, Loss.LINEAR, 50.89),
    ],
)
def test_llama_3_8b_is_within_one_percent_of_public_measurements(rows, loss, measured_gb):
    """Compare with IBM's fms-acceleration rows: A100-80GB, 4,096 tokens, checkpointing."""
    estimate = predict(
        a_training(
            micro_batch_size=rows,
            token_count=4096,
            loss=loss,
            attention=Attention.FLASH,
            optimizer=Optimizer.ADAMW_FOREACH,
            library="transformers-4",
        )
    )
    assert estimate.allocated.expected_bytes / 1e9 == pytest.approx(measured_gb, rel=0.01)


@pytest.mark.parametrize(("rows", "measured_gb"), [(2, 57.5), (4, 64.3)])
def test_a_mixture_over_two_devices_is_within_two_percent_of_public_measurements(rows, measured_gb):
    """Compare with IBM's fms-acceleration rows: Mixtral 8x7B, LoRA, FSDP on A100-80GB."""
    shape = CATALOGUE.shapes["mistralai/Mixtral-8x7B-v0.1"]
    estimate = predict(
        a_training(
            shape,
            micro_batch_size=rows,
            token_count=4096,
            loss=Loss.FULL,
            attention=Attention.FLASH,
            device_count=2,
            sharding=Sharding.FSDP,
            cached_position_count=32_768,
            library="transformers-4",
        )
    )
    assert estimate.allocated.expected_bytes / 1e9 == pytest.approx(measured_gb, rel=0.02)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([STARTER, LLAMA, MIXTURE]),
    method=st.sampled_from([LORA, FULL, Method.METHOD_QLORA, Method.METHOD_DORA]),
    rows=st.integers(1, 8),
    tokens=st.integers(16, 4096),
    checkpointing=st.booleans(),
)
def test_more_of_anything_never_needs_less(shape, method, rows, tokens, checkpointing):
    def need(rows, tokens, rank, checkpointing, accumulates=False):
        layout = Layout(rows, tokens, checkpointing, accumulates)
        return estimate_memory(shape, method, rank, ["all-linear"], A100, layout).expected_bytes

    base = need(rows, tokens, 16, checkpointing)
    assert need(rows + 1, tokens, 16, checkpointing) >= base
    assert need(rows, tokens + 64, 16, checkpointing) >= base
    assert need(rows, tokens, 32, checkpointing) >= base
    assert need(rows, tokens, 16, False) >= need(rows, tokens, 16, True) * 0.999
    assert need(rows, tokens, 16, checkpointing, accumulates=True) >= base


@settings(max_examples=60, deadline=None)
@given(
    loss=st.sampled_from(list(Loss)),
    optimizer=st.sampled_from(list(Optimizer)),
    sharding=st.sampled_from(list(Sharding)),
    tuning=st.sampled_from(list(Tuning)),
    count=st.integers(1, 8),
)
def test_bounds_enclose_and_readings_are_ordered(loss, optimizer, sharding, tuning, count):
    training = a_training(
        loss=loss, optimizer=optimizer, sharding=sharding, device_count=count, tuning=tuning
    )
    estimate = predict(training)
    for each in (estimate.allocated, estimate.reserved, estimate.process, estimate.needed):
        assert 0 <= each.low_bytes <= each.expected_bytes <= each.high_bytes
    assert estimate.allocated.expected_bytes <= estimate.reserved.expected_bytes
    assert estimate.reserved.expected_bytes <= estimate.process.expected_bytes
    sizes = [part.size_bytes for part in estimate.components]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == estimate.expected_bytes


def test_high_is_at_most_a_seventh_above():
    estimate = predict(a_training())
    assert estimate.allocated.high_bytes <= 1.146 * estimate.allocated.expected_bytes


def test_four_bits_spare_the_layers_only():
    bfloat16, nf4 = (
        {part.title: part.size_bytes for part in predict(a_training(weights=held)).components}
        for held in (Format.BFLOAT16, Format.NF4)
    )
    anatomy = read_anatomy(LLAMA)
    spared = (2 - 0.5625) * anatomy.linear_count
    assert bfloat16["weights"] - nf4["weights"] == pytest.approx(spared, rel=1e-6)


def test_what_is_held_of_logits_depends_on_the_kernel():
    held = [peak(loss=loss) for loss in (Loss.FULL, Loss.FUSED, Loss.HELD_CHUNKS, Loss.CHUNKED)]
    assert held == sorted(held, reverse=True)
    tokens = 4 * 2048
    assert held[0] - held[1] == pytest.approx(tokens * (4 * 128_256 + 2 * 4096), rel=0.001)


def test_attention_without_a_kernel_holds_the_scores():
    plain = peak(checkpointing=False, attention=Attention.EAGER)
    assert plain - peak(checkpointing=False) > 6 * 32 * 2048 * 4 * 2048 * 31


def test_dora_and_dropout_and_repeated_keys_add():
    base = peak(checkpointing=False)
    assert peak(checkpointing=False, tuning=Tuning.DORA) > base
    assert peak(checkpointing=False, adapter_dropout=True) > base
    assert peak(checkpointing=False, repeats_keys=True) > base


def test_preferences_double_the_rows_and_an_adapter_needs_no_reference():
    pairs = a_training(objective=Objective.PREFERENCE, micro_batch_size=2)
    assert predict(pairs).expected_bytes == peak(micro_batch_size=4)
    full = {"tuning": Tuning.FULL, "rank": 0, "targets": ()}
    titles = {part.title for part in predict(replace(pairs, **full)).components}
    assert "reference model" in titles
    assert "reference model" not in {part.title for part in predict(pairs).components}


def test_reward_model_has_no_logits():
    assert peak(objective=Objective.REWARD_MODEL, loss=Loss.FULL, micro_batch_size=2) < peak(
        loss=Loss.FULL
    )


def test_engine_that_sleeps_leaves_the_step_its_memory():
    rollout = Rollout(512, 1536, engine_bytes=24 * 2**30)
    awake = predict(a_training(objective=Objective.ONLINE, rollout=rollout))
    asleep = replace(rollout, engine_sleeps=True)
    asleep = predict(a_training(objective=Objective.ONLINE, rollout=asleep))
    assert awake.expected_bytes > asleep.expected_bytes >= 24 * 2**30 + 2 * LLAMA.parameter_count
    alone = replace(rollout, engine_bytes=0, concurrent_count=64, completion_token_count=16_000)
    alone = predict(a_training(objective=Objective.ONLINE, rollout=alone))
    cache = {part.title: part.size_bytes for part in alone.components}["key-value cache"]
    assert cache == 131_072 * (512 + 16_000) * 64  # Of one token of Llama 3 8B: 131,072 bytes.


FULL_TUNING = {"tuning": Tuning.FULL, "rank": 0, "targets": (), "device_count": 4}


def test_each_stage_of_sharding_spares_more():
    sizes = [
        peak(**FULL_TUNING, sharding=stage, optimizer=Optimizer.ADAMW_FUSED)
        for stage in (Sharding.DDP, Sharding.ZERO_1, Sharding.ZERO_2, Sharding.ZERO_3)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    assert peak(**FULL_TUNING, sharding=Sharding.FSDP) < sizes[0] / 2
    assert peak(**FULL_TUNING, sharding=Sharding.TENSOR) < sizes[0] / 2


@pytest.mark.parametrize("part", list(Offload))
def test_what_is_offloaded_is_spared(part):
    values = {**FULL_TUNING, "micro_batch_size": 16, "sharding": Sharding.FSDP}
    if part is Offload.PARAMETERS:
        values |= {"tuning": Tuning.LORA, "rank": 16, "targets": QKVO}
    assert peak(**values, offload=frozenset({part})) < peak(**values)


def test_optimizers_by_what_they_keep():
    values = {**FULL_TUNING, "device_count": 1, "micro_batch_size": 1, "token_count": 16}
    sizes = {each: peak(**values, optimizer=each) for each in Optimizer}
    assert sizes[Optimizer.ADAMW_FOREACH] - sizes[Optimizer.ADAMW_FUSED] == pytest.approx(
        4 * LLAMA.parameter_count, rel=0.1
    )
    assert sizes[Optimizer.ADAMW_8BIT] < sizes[Optimizer.ADAMW_FUSED]
    assert sizes[Optimizer.ADAMW_IN_BACKWARD] < sizes[Optimizer.ADAMW_FUSED]
    assert sizes[Optimizer.ADAMW_PAGED] < sizes[Optimizer.ADAMW_8BIT]


def test_upcast_doubles_what_passes_hold():
    assert peak(weights=Format.NF4, upcast=True) > peak(weights=Format.NF4)


def test_every_number_of_the_table_has_a_source():
    table = yaml.safe_load(TABLE.read_text())
    assert table.pop("version")
    for entries in table.values():
        for name, entry in entries.items():
            assert len(entry["source"]) > 5, name
    libraries, spreads = read_table()
    assert {"transformers-5", "transformers-4"} <= set(libraries)
    assert 0 < spreads.states < spreads.activations < spreads.largest * 2
