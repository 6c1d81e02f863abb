"""Direct preference optimisation by the real trainer library on a tiny model."""

import shutil
from functools import partial

import pytest
from attune.spec.v1.stage_pb2 import Method

from services.trainer.data.pairs import make_pair
from services.trainer.data.render import Renderer
from services.trainer.data.row_shape import shape_row
from services.trainer.data.rows import Row
from services.trainer.recipes.preference import (
    PairLogprobs,
    preference_accuracy,
    preference_margins,
)
from services.trainer.recipes.training import IGNORED
from tests.trainer import tiny

STEPS = 8
LENGTH = 64


def a_row(content):
    shaped = shape_row(content)
    messages = [*shaped.messages, *shaped.chosen]
    return Row(1, messages, shaped.tools, shaped.rejected, shaped.reference, content)


@pytest.fixture(scope="module")
def make(saved_model):
    renderer = Renderer(saved_model)
    return lambda content, longest=LENGTH: make_pair(renderer, a_row(content), longest)


@pytest.fixture(scope="module")
def pairs(make):
    return [make(row) for row in tiny.pairs(24)]


@pytest.fixture(scope="module")
def earlier(saved_model, tmp_path_factory):
    """An adapter that a stage before has made: random, so that it differs from none."""
    import torch
    from peft import LoraConfig, get_peft_model

    from services.trainer.recipes.model import load_base

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("earlier")
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=8,
        lora_alpha=16,
        target_modules="all-linear",
        init_lora_weights=False,
    )
    get_peft_model(load_base(saved_model, torch.float32), config).save_pretrained(folder)
    return folder


class Heard:
    """An observer that keeps what it hears, and checkpoints."""

    def __init__(self, folder):
        self.folder = folder
        self.metrics = []
        self.checkpoints = {}

    def __getattr__(self, name):
        if name.startswith("on_"):
            return lambda *_: None
        raise AttributeError(name)

    def on_metrics(self, step, values):
        self.metrics.append((step, dict(values)))

    def on_checkpoint(self, step, folder):
        self.checkpoints[step] = shutil.move(folder, self.folder / f"kept-{step}")

    def wants_checkpoint(self):
        return False

    def is_enough(self):
        return False


@pytest.fixture
def training(saved_model, pairs, tmp_path):
    from services.trainer.recipes.training import Training

    spec = tiny.a_preference_spec("m", "t", "h", learning_rate=2e-2)
    values = {
        "model_folder": saved_model,
        "method": Method.METHOD_LORA,
        "hyperparameters": spec.stages[0].hyperparameters,
        "plan": tiny.a_placement().parallel_plan,
        "train": pairs[:16],
        "validation": pairs[16:],
        "output_folder": tmp_path / "scratch",
        "resume_from": None,
        "use_cuda": False,
        "steps_total": STEPS,
        "evaluation_steps": STEPS // 2,
        "logging_steps": 1,
        "warmup_steps": 1,
    }
    return lambda **changes: Training(**{**values, **changes})


def answers(saved_model, adapter=None):
    """Return the generator of the model, with an adapter or without."""
    from transformers import AutoTokenizer

    from services.trainer.recipes.generation import Loading, load_generator

    return load_generator(
        saved_model, adapter, AutoTokenizer.from_pretrained(saved_model), Loading(use_cuda=False)
    )


def sums(generator, pairs):
    from services.trainer.recipes.preference import pair_logprobs

    return pair_logprobs(generator, pairs, lambda _: None)


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def test_a_pair_is_the_row_as_it_is_previewed(make, saved_model):
    row = tiny.pair("colour", "red")
    made = make(row)
    renderer = Renderer(saved_model)
    prompt, chosen, rejected = renderer.pair(shape_row(row))
    assert (made.prompt_ids, made.chosen_ids, made.rejected_ids) == (prompt, chosen, rejected)
    previewed = renderer.shaped(shape_row(row))
    assert made.token_ids == previewed.token_ids
    assert [one != IGNORED for one in made.labels] == [
        bool(one) for one in previewed.assistant_mask
    ]
    openai = {
        "input": {"messages": row["prompt"]},
        "preferred_output": row["chosen"],
        "non_preferred_output": row["rejected"],
    }
    assert make(openai) == made


def test_a_pair_that_the_cut_leaves_nothing_of_trains_nothing(make):
    whole = make(tiny.pair("colour", "red"))
    asked, longest = len(whole.prompt_ids), whole.length
    assert make(tiny.pair("colour", "red"), asked) is None
    cut = make(tiny.pair("colour", "red"), longest - 1)
    assert cut.length == longest - 1
    same = {**tiny.pair("colour", "red"), "rejected": tiny.pair("colour", "red")["chosen"]}
    assert make(same) is None


@pytest.mark.parametrize("chained", [False, True])
def test_the_trainer_computes_log_probabilities_of_our_tokens(
    chained, training, earlier, saved_model, pairs
):
    import torch

    from services.trainer.recipes.dpo import make_trainer

    adapter = earlier if chained else None
    trainer = make_trainer(training(base_adapter=adapter), Heard(None))
    batch = trainer.data_collator([trainer.train_dataset[index] for index in range(6)])
    expected = sums(answers(saved_model, adapter), pairs[:6])
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    with torch.no_grad():
        reference = trainer.compute_ref_log_probs(trainer.model, batch)
        own = trainer.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=labels,
            fused_lm_head=True,
        ).log_probs.sum(dim=1)
    # Before the first step the model is its reference.
    for found in (reference, own.chunk(2)):
        for part, wanted in zip(found, (expected.chosen, expected.rejected), strict=True):
            assert part.tolist() == pytest.approx(wanted, abs=1e-3)


def test_the_margin_of_rewards_and_the_accuracy_on_unseen_pairs_go_up(
    training, saved_model, make, tmp_path
):
    from services.trainer.recipes import dpo

    heard = Heard(tmp_path)
    dpo.train(training(steps_total=STEPS * 6), heard)
    trained = [values for _, values in heard.metrics if "loss" in values]
    evaluated = [values for _, values in heard.metrics if "eval_loss" in values]
    assert trained[0]["rewards/margins"] == pytest.approx(0.0, abs=1e-6)
    assert trained[-1]["rewards/margins"] > 0.1
    assert trained[-1]["rewards/accuracies"] == 1.0
    assert evaluated[-1]["eval_loss"] < evaluated[0]["eval_loss"] < 0.6931
    assert evaluated[-1]["eval_rewards/margins"] > 0.1
    # Of each kind a value that no row of training has with it.
    unseen = [make(tiny.pair(*one)) for one in (("animal", "red"), ("number", "cat"))]
    unseen += [make(tiny.pair(*one)) for one in (("colour", "dog"), ("colour", "two"))]
    before = sums(answers(saved_model), unseen)
    after = sums(answers(saved_model, heard.checkpoints[STEPS * 6]), unseen)
    assert preference_accuracy(after, before) == 1.0
    assert preference_accuracy(after) > preference_accuracy(before)


def test_a_chained_stage_keeps_its_reference_and_resumes_to_the_same_weights(
    training, earlier, tmp_path
):
    import torch

    from services.trainer.recipes import dpo

    heard = Heard(tmp_path)
    stage = partial(training, base_adapter=earlier)
    trainer = dpo.make_trainer(stage(), heard)
    dpo.execute(trainer, stage())
    begun, ended = weights(earlier), weights(heard.checkpoints[STEPS])
    assert any(not torch.equal(ended[name], begun[name]) for name in begun)
    frozen = {
        name.replace(".ref.", "."): value
        for name, value in trainer.model.state_dict().items()
        if ".ref." in name
    }
    assert frozen.keys() == begun.keys()
    assert all(torch.equal(frozen[name], begun[name]) for name in begun)
    # One adapter on disk, which another attempt goes on from.
    assert not [path for path in heard.checkpoints[STEPS].iterdir() if path.is_dir()]
    resumed = Heard(tmp_path / "resumed")
    resumed.folder.mkdir()
    middle = heard.checkpoints[STEPS // 2]
    dpo.train(stage(resume_from=middle, output_folder=tmp_path / "again"), resumed)
    assert min(step for step, values in resumed.metrics if "loss" in values) > STEPS // 2
    again = weights(resumed.checkpoints[STEPS])
    assert all(torch.equal(again[name], ended[name]) for name in ended)


@pytest.mark.parametrize("loss_type", ["", "ipo", "hinge", "aot_unpaired", "apo_zero"])
def test_settings_are_those_of_the_spec(training, loss_type):
    from services.trainer.recipes.dpo import config

    one = training()
    one.hyperparameters.dpo.loss_type = loss_type
    one.hyperparameters.dpo.label_smoothing = 0.1
    made = config(one)
    assert (made.beta, made.label_smoothing) == (0.1, 0.1)
    assert made.loss_type == [loss_type or "sigmoid"]
    assert (made.max_length, made.learning_rate, made.disable_dropout) == (LENGTH, 2e-2, False)


def test_accuracy_is_by_likelihood_or_by_what_was_gained():
    now = PairLogprobs([-1.0, -5.0, -3.0], [-2.0, -4.0, -3.0])
    before = PairLogprobs([-1.0, -9.0, -3.0], [-3.0, -4.0, -2.0])
    assert preference_accuracy(now) == pytest.approx(1 / 3)
    assert preference_margins(now, before) == [-1.0, 4.0, 1.0]
    assert preference_accuracy(now, before) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "loss",
    [
        "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard",
        "discopop", "apo_zero", "apo_down",
    ],
)  # fmt: skip
def test_a_blank_pair_has_the_loss_that_is_taken_out_for_it(training, loss):
    import torch
    from trl import DPOTrainer

    from services.trainer.recipes.dpo import ROW_MEANS, blank_loss, make_trainer
    from services.trainer.recipes.order import BLANK_PAIR

    changed = training()
    dpo = changed.hyperparameters.dpo
    dpo.loss_type, dpo.label_smoothing = loss, 0.1
    trainer = make_trainer(changed, None)
    blank = {
        name: getattr(BLANK_PAIR, name) for name in ("prompt_ids", "chosen_ids", "rejected_ids")
    }
    batch = trainer.data_collator([blank, blank])
    with torch.no_grad():
        found = DPOTrainer._compute_loss(trainer, trainer.model, batch, return_outputs=False)
    assert float(found) == pytest.approx(blank_loss(loss, dpo.beta, 0.1), abs=1e-6)
    assert all(trainer._metrics["train"][name][-1] == 0 for name in ROW_MEANS)
