"""vLLM beside a training: when it samples, which weights it is given, and what it leaves behind."""

import os
import random
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec

import pytest
from attune.spec.v1.stage_pb2 import LoraParameters, Method

from services.trainer.recipes import colocated
from tests.trainer import stages, tiny_rl

GUARD = """
import torch
torch.cuda.is_available = lambda: True
import services.trainer.recipes.grpo
from trl.generation import vllm_generation
assert vllm_generation.is_vllm_available()
assert vllm_generation.LLM
"""


def installed_as(monkeypatch, found):
    """Let vLLM be there in a version, or under another name where that is None."""

    def version(name):
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(colocated, "find_spec", lambda name: object())
    monkeypatch.setattr(colocated, "version", version)


@pytest.mark.parametrize("version", [None, "0.31.0+cpu"])
def test_a_build_for_processors_is_not_sampled_with(monkeypatch, version):
    installed_as(monkeypatch, version)
    assert "on the processor only" in colocated.lack_of_vllm(Method.METHOD_LORA)


def test_a_build_for_gpus_samples_for_every_method_but_that_of_four_bits(monkeypatch):
    installed_as(monkeypatch, "0.31.0")
    lacks = {one: colocated.lack_of_vllm(one) for one in (1, 2, 3, 4)}
    assert [one for one, lack in lacks.items() if lack] == [Method.METHOD_QLORA]
    assert "4-bit" in lacks[Method.METHOD_QLORA]


def test_without_vllm_that_is_what_is_said(monkeypatch):
    monkeypatch.setattr(colocated, "find_spec", lambda name: None)
    assert colocated.lack_of_vllm(Method.METHOD_LORA) == "vLLM is not installed here"


def test_the_settings_of_a_training_on_a_gpu_are_those_that_the_library_knows(
    saved_model, tmp_path, monkeypatch
):
    from services.trainer.recipes.grpo import config

    installed_as(monkeypatch, "0.31.0")
    settings = tiny_rl.a_spec("0", "0", "0").stages[0].hyperparameters
    training = stages.a_training(saved_model, tmp_path)
    training = replace(
        training,
        hyperparameters=settings,
        plan=tiny_rl.a_placement().parallel_plan,
        use_cuda=True,
    )
    found = config(training)
    assert (found.use_vllm, found.vllm_mode) == (True, "colocate")
    assert found.vllm_max_model_length == 32 + 8
    assert found.vllm_importance_sampling_correction
    assert found.vllm_importance_sampling_mode == "token_truncate"
    assert not config(replace(training, method=Method.METHOD_QLORA)).use_vllm
    assert not config(replace(training, use_cuda=False)).use_vllm


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not here")
def test_where_there_is_a_gpu_the_library_sees_vllm():
    """In a process of its own: what the recipe hides from the library is hidden for good."""
    done = subprocess.run(
        [sys.executable, "-c", GUARD], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


def adapted(folder, has_magnitudes):
    """Return a model in bfloat16 with an adapter that has learnt something."""
    import torch
    from peft import get_peft_model

    from services.trainer.recipes.model import load_base, lora

    values = LoraParameters(rank=4, alpha=8, dropout=0.0, target_modules=["all-linear"])
    model = get_peft_model(
        load_base(folder, torch.bfloat16), lora(values, has_magnitudes=has_magnitudes)
    )
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0.0, 0.02)
    return model


@pytest.mark.parametrize("has_magnitudes", [False, True])
def test_vllm_is_given_the_merged_weights_and_the_base_keeps_its_bits(saved_model, has_magnitudes):
    import copy

    import torch

    model = adapted(saved_model, has_magnitudes)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    found = {name: one.clone() for name, one in colocated.merged_weights(model)}
    wanted = dict(copy.deepcopy(model).merge_and_unload().named_parameters())
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    plain = stages.tensors(saved_model)
    assert sum(not torch.equal(found[name], plain[name].bfloat16()) for name in plain) == 2 * 7
    after = model.state_dict()
    assert all(torch.equal(after[name], one) for name, one in before.items())


def test_a_merge_that_is_broken_off_leaves_the_base_as_it_was(saved_model):
    import torch

    model = adapted(saved_model, has_magnitudes=False)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    weights = colocated.merged_weights(model)
    next(name for name, _ in weights if "q_proj" in name)
    weights.close()
    assert all(torch.equal(model.state_dict()[name], one) for name, one in before.items())


class Engine:
    """Stands for vLLM: its steps and its end are counted."""

    def __init__(self):
        self.llm_engine = self.engine_core = self
        self.steps, self.is_down = 0, False

    def step(self):
        self.steps += 1
        return self.steps

    def shutdown(self):
        self.is_down = True


def test_a_training_is_asked_before_each_token_and_vllm_ends_with_it():
    engine, calls = Engine(), []

    def on_step():
        calls.append(engine.steps)
        if len(calls) > 2:
            raise InterruptedError

    with pytest.raises(InterruptedError), colocated.heard(engine, on_step):
        while True:
            assert engine.step() == len(calls)
    assert (calls, engine.steps, engine.is_down) == ([0, 1, 2], 2, True)


def test_no_variable_makes_the_next_training_a_gang(monkeypatch):
    for name in (*colocated.SET_BY_TRL, *colocated.OURS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_PORT", "1234")
    with pytest.raises(InterruptedError), colocated.surroundings_kept():
        assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
        os.environ.update(dict.fromkeys(colocated.SET_BY_TRL, "0"))
        raise InterruptedError
    left = {name for name in (*colocated.SET_BY_TRL, *colocated.OURS) if name in os.environ}
    assert left == {"MASTER_PORT"}
    assert os.environ["MASTER_PORT"] == "1234"


def test_no_draw_of_an_evaluation_changes_those_of_the_training():
    import numpy as np
    import torch

    from services.trainer.recipes.processor import draws_as_found

    def draws():
        return random.random(), float(np.random.random()), float(torch.rand(()))

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    wanted = draws()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    with draws_as_found():
        assert draws() == wanted
    assert draws() == wanted
