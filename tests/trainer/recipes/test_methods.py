"""Every method trains a real model: what it should change changes, and nothing else does."""

from dataclasses import replace

import pytest
from attune.spec.v1.stage_pb2 import LoraParameters, Method

from services.common.artefacts import file_sha256
from services.trainer.recipes import METHODS, lack_of, methods_here
from tests.trainer import stages

LORA, DORA, FULL = Method.METHOD_LORA, Method.METHOD_DORA, Method.METHOD_FULL
CASES = {"lora": LORA, "rslora": LORA, "dora": DORA, "full": FULL}


@pytest.fixture(scope="module", params=CASES)
def case(request, saved_model, tmp_path_factory):
    """One finished training of each method, and the model that it began from."""
    folder = tmp_path_factory.mktemp(request.param)
    training = stages.a_training(saved_model, folder, CASES[request.param])
    if request.param == "rslora":
        training = stages.with_lora(training, rank_stabilized=True)
    before = file_sha256(saved_model / "model.safetensors")
    heard = stages.train(training, folder / "kept")
    assert file_sha256(saved_model / "model.safetensors") == before
    return request.param, training, heard


def test_the_loss_on_rows_that_are_not_taught_falls(case):
    _, _, heard = case
    assert len(heard.eval_losses) == 3
    assert heard.eval_losses[-1] < 0.9 * heard.losses[0]
    assert heard.eval_losses == sorted(heard.eval_losses, reverse=True)


def test_only_the_weights_that_should_learn_have_changed(case, saved_model):
    name, _, heard = case
    base, found = stages.tensors(saved_model), stages.tensors(heard.newest)
    if name == "full":
        assert set(found) == set(base)
        assert not any(stages.same(base, found, [one]) for one in base)
        count = sum(one.numel() for one in base.values())
    else:
        kinds = {"lora_A", "lora_B"} | ({"lora_magnitude_vector"} if name == "dora" else set())
        assert {kind for kind in kinds if any(kind in one for one in found)} == kinds
        assert all(any(kind in one for kind in kinds) for one in found)
        assert not (heard.newest / "model.safetensors").exists()
        count = sum(one.numel() for one in found.values())
    assert heard.resolved.trainable_parameter_count == count


def test_what_the_library_was_told_is_what_the_spec_says(case):
    _, training, heard = case
    told = heard.resolved
    assert told.effective_batch_size == training.hyperparameters.effective_batch_size == 8
    assert (told.micro_batch_size, told.gradient_accumulation_step_count) == (4, 2)
    assert (told.step_count, told.warmup_step_count) == (12, 1)
    assert told.learning_rate == training.hyperparameters.learning_rate
    assert (told.precision, told.weight_format, told.attention) == ("float32", "float32", "sdpa")
    assert "12 steps of 8 rows" in str(told)
    assert max(values.get("learning_rate", 0.0) for values in heard.metrics.values()) == (
        pytest.approx(told.learning_rate)
    )


def test_a_training_that_goes_on_from_a_checkpoint_ends_with_the_same_weights(case, tmp_path):
    _, training, heard = case
    halfway = replace(training, output_folder=tmp_path / "scratch", resume_from=heard.checkpoint(8))
    again = stages.train(halfway, tmp_path / "kept")
    assert again.started == 8
    assert stages.same(stages.tensors(heard.newest), stages.tensors(again.newest))


def test_the_same_settings_rows_and_seed_give_the_same_bytes(case, tmp_path):
    name, training, heard = case
    again = stages.train(replace(training, output_folder=tmp_path / "s"), tmp_path / "kept")
    weights = "model.safetensors" if name == "full" else "adapter_model.safetensors"
    assert file_sha256(again.newest / weights) == file_sha256(heard.newest / weights)
    assert again.losses == heard.losses


def test_a_stabilised_rank_scales_by_its_root():
    from services.trainer.recipes.model import lora

    values = LoraParameters(rank=16, alpha=32, dropout=0.1, target_modules=["q_proj"])
    assert not lora(values).use_rslora
    values.rank_stabilized = True
    made = lora(values)
    assert (made.use_rslora, made.use_dora, made.r, made.lora_alpha) == (True, False, 16, 32)
    assert (made.lora_dropout, made.target_modules) == (0.1, {"q_proj"})


def test_four_bits_are_refused_where_there_is_no_gpu():
    qlora = Method.METHOD_QLORA
    assert lack_of(qlora, has_cuda=False) == "a CUDA GPU"
    assert methods_here(has_cuda=False) == [LORA, DORA, FULL]
    assert set(METHODS) == {LORA, qlora, DORA, FULL}


def test_four_bits_are_what_the_paper_says():
    import torch

    from services.trainer.recipes.model import four_bits

    made = four_bits(torch.bfloat16).to_dict()
    assert made["load_in_4bit"]
    assert made["bnb_4bit_use_double_quant"]
    assert made["bnb_4bit_quant_type"] == "nf4"
    assert made["bnb_4bit_compute_dtype"] == "bfloat16"
