"""Reinforcement on a tiny model by the real trainer: the reward of unseen prompts rises."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from attune.spec.v1.stage_pb2 import Method
from safetensors.torch import load_file

from services.trainer.recipes.training import Prompt, Training
from tests.trainer import tiny_rl


class Watch:
    """Keeps what a training says."""

    def __init__(self, checkpoints: Path) -> None:
        self.checkpoints = checkpoints
        self.start = -1
        self.losses: dict[int, float] = {}
        self.numbers: list[tuple[int, Mapping[str, float]]] = []
        self.calls = 0
        self.stop_after = 10**9

    def on_start(self, step, eval_losses):
        self.start, self.losses = step, dict(eval_losses)

    def on_resolved(self, resolved):
        self.resolved = resolved

    def on_step(self, step):
        self.calls += 1
        if self.calls > self.stop_after:
            raise InterruptedError

    def on_metrics(self, step, values):
        self.numbers.append((step, dict(values)))

    def on_checkpoint(self, step, folder):
        folder.rename(self.checkpoints / f"step-{step}")

    def wants_checkpoint(self):
        return False

    def is_enough(self):
        return False

    def of(self, name):
        return {step: values[name] for step, values in self.numbers if name in values}


class Bench:
    """Trains a tiny model on prompts, rewarded by a function of the row and the answer's text."""

    def __init__(self, model: Path, folder: Path) -> None:
        from transformers import AutoTokenizer

        self.model, self.folder, self.asked = model, folder, []
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.rows = tiny_rl.prompts(held_out=False) + tiny_rl.prompts(held_out=True)
        self.taught = len(tiny_rl.prompts(held_out=False))

    def text(self, token_ids):
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def prompt(self, line):
        token_ids = self.tokenizer.apply_chat_template(
            self.rows[line]["messages"], add_generation_prompt=True
        )["input_ids"]
        return Prompt(token_ids, (), line)

    def equals(self, lines, answers):
        """Reward what equals the reference."""
        self.asked.append((list(lines), [list(one) for one in answers]))
        return [
            float(self.text(one) == self.rows[line]["reference"])
            for line, one in zip(lines, answers, strict=True)
        ]

    def training(
        self,
        name="a",
        steps=12,
        reward=None,
        resume_from=None,
        method=None,
        base_adapter=None,
        **changes,
    ):
        settings = tiny_rl.a_spec("0", "0", "0", **changes).stages[0].hyperparameters
        (self.folder / name).mkdir(exist_ok=True)
        return Training(
            model_folder=self.model,
            method=method or Method.METHOD_LORA,
            hyperparameters=settings,
            plan=tiny_rl.a_placement().parallel_plan,
            train=[self.prompt(line) for line in range(self.taught)],
            validation=[self.prompt(line) for line in range(self.taught, len(self.rows))],
            output_folder=self.folder / name / "scratch",
            resume_from=resume_from,
            base_adapter=base_adapter,
            use_cuda=False,
            steps_total=steps,
            evaluation_steps=4,
            logging_steps=1,
            warmup_steps=0,
            reward=reward or self.equals,
        )

    def train(self, name="a", **changes):
        from services.trainer.recipes.grpo import train

        training = self.training(name, **changes)
        watch = Watch(self.folder / name)
        train(training, watch)
        return watch

    def weights(self, name, step):
        return load_file(self.folder / name / f"step-{step}" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def bench(tmp_path_factory, two_way_model):
    return Bench(two_way_model, tmp_path_factory.mktemp("grpo"))


@pytest.fixture(scope="module")
def trained(bench):
    return bench.train("whole")


def test_the_mean_reward_of_unseen_prompts_rises_and_chooses_the_checkpoint(trained):
    rewards = trained.of("eval_reward")
    assert sorted(rewards) == [0, 4, 8, 12]
    assert 0.1 < rewards[0] < 0.7
    assert max(rewards[8], rewards[12]) > rewards[0] + 0.2
    assert trained.of("eval_loss") == {step: -reward for step, reward in rewards.items()}


def test_the_numbers_that_watchdogs_read_are_told(trained):
    for name in (
        "reward",
        "reward_std",
        "frac_reward_zero_std",
        "completions/clipped_ratio",
        "completions/mean_length",
        "entropy",
        "grad_norm",
        "ungraded",
    ):
        assert sorted(trained.of(name)) == list(range(1, 13)), name
    assert set(trained.of("ungraded").values()) == {0.0}


def test_a_step_takes_a_group_of_answers_for_each_prompt_of_the_batch(bench, trained):
    batches = [lines for lines, _ in bench.asked if max(lines) < bench.taught]
    assert len(batches) == 12
    for lines in batches:
        groups = [lines[start : start + tiny_rl.GROUP] for start in range(0, 32, tiny_rl.GROUP)]
        assert len(lines) == tiny_rl.PROMPTS * tiny_rl.GROUP
        assert all(len(set(group)) == 1 for group in groups)
        assert len({group[0] for group in groups}) == tiny_rl.PROMPTS


def test_the_same_seed_gives_the_same_weights(bench, trained):
    bench.train("again", steps=4)
    assert_equal(bench.weights("again", 4), bench.weights("whole", 4))


def test_a_resumed_training_leads_to_the_same_weights(bench, trained):
    watch = bench.train("resumed", resume_from=bench.folder / "whole" / "step-8")
    assert watch.start == 8
    assert watch.losses == {step: -trained.of("eval_reward")[step] for step in (0, 4, 8)}
    assert_equal(bench.weights("resumed", 12), bench.weights("whole", 12))


def test_prompts_reach_the_model_as_the_renderer_makes_them(bench, monkeypatch):
    from trl import GRPOTrainer

    from services.trainer.data.render import renderer

    seen, sample = [], GRPOTrainer._generate_single_turn

    def record(self, prompt_ids, *arguments, **named):
        seen.extend(prompt_ids)
        return sample(self, prompt_ids, *arguments, **named)

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", record)
    bench.train("prompts", steps=1)
    render = renderer(bench.model)
    wanted = {tuple(render.prompt(row["messages"], None)) for row in bench.rows}
    assert seen
    assert set(map(tuple, seen)) <= wanted


@pytest.mark.parametrize("left_out", [None, 0.0])
def test_an_answer_that_could_not_be_graded_is_never_taken_for_a_reward_of_zero(bench, left_out):
    """Without the failed answers all others earn the same, so nothing is learnt from them."""

    def reward(lines, answers):
        return [1.0 if index % 2 else left_out for index in range(len(answers))]

    watch = bench.train(f"left-{left_out}", steps=1, reward=reward)
    assert (watch.of("grad_norm")[1] == 0.0) == (left_out is None)
    assert watch.of("reward")[1] == (1.0 if left_out is None else 0.5)
    assert watch.of("ungraded")[1] == (0.5 if left_out is None else 0.0)


def test_a_group_of_which_nothing_could_be_graded_changes_nothing(bench):
    watch = bench.train("none", steps=1, reward=lambda lines, answers: [None] * len(answers))
    assert watch.of("grad_norm") == {1: 0.0}
    assert watch.of("reward") == watch.of("eval_loss") == {}


def test_the_distance_from_the_start_is_told_where_it_is_held(bench):
    watch = bench.train("kl", steps=2, kl_coefficient=0.1)
    assert watch.of("kl")[1] == pytest.approx(0.0, abs=1e-5)
    assert watch.of("kl")[2] > 0.0


def test_an_adapter_of_an_earlier_stage_is_trained_on_and_held_near_where_it_began(bench, trained):
    before = bench.folder / "whole" / "step-12"
    chain = {"base_adapter": before, "kl_coefficient": 0.1, "steps": 8}
    watch = bench.train("chain", **chain)
    assert watch.of("kl")[1] == pytest.approx(0.0, abs=1e-5)
    assert watch.of("eval_reward")[0] == trained.of("eval_reward")[12]
    first = bench.folder / "chain" / "step-4"
    bench.train("chain-resumed", resume_from=first, **chain)
    assert_equal(bench.weights("chain-resumed", 8), bench.weights("chain", 8))
    assert sorted(path.name for path in first.iterdir() if path.is_dir()) == []


def test_a_training_stops_while_it_samples(bench):
    from services.trainer.recipes.grpo import train

    watch = Watch(bench.folder)
    watch.stop_after = 3
    with pytest.raises(InterruptedError):
        train(bench.training("stopped"), watch)
    assert watch.numbers == []


def test_every_value_of_the_spec_reaches_the_trainer(bench):
    from services.trainer.recipes.grpo import config

    found = config(
        bench.training(
            temperature=0.7,
            top_p=0.9,
            kl_coefficient=0.01,
            clip_low=0.1,
            clip_high=0.4,
            max_completion_length=5,
            loss_type="dr_grpo",
        )
    )
    assert (found.temperature, found.top_p, found.beta) == (0.7, 0.9, 0.01)
    assert (found.epsilon, found.epsilon_high, found.loss_type) == (0.1, 0.4, "dr_grpo")
    assert (found.num_generations, found.max_completion_length) == (tiny_rl.GROUP, 5)
    assert found.generation_batch_size == tiny_rl.PROMPTS * tiny_rl.GROUP
    assert found.steps_per_generation == found.gradient_accumulation_steps == 2
    assert not found.use_vllm


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, weights in one.items():
        assert weights.equal(other[name]), name
