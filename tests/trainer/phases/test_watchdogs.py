import math
from dataclasses import replace

import pytest

from services.trainer.phases.watchdogs import (
    RULES,
    TABLE,
    Action,
    Situation,
    Watchdogs,
    load_watchdogs,
)

SITUATION = Situation(
    learning_rate=3e-3, vocabulary_size=400, steps_total=100, validation_count=100_000
)
"""Guessing blindly among 400 tokens costs 5.99 nats."""


def alarms(technique: str, *values: dict[str, float], situation: Situation = SITUATION):
    """Return (step, name) of whatever acts while the values come, one per step."""
    dogs = Watchdogs(technique, situation)
    found = [(step, dogs.look(step, one)) for step, one in enumerate(values, 1)]
    return [(step, alarm.watchdog.name) for step, seen in found for alarm in seen]


def series(name: str, *values: float) -> list[dict[str, float]]:
    return [{name: value} for value in values]


def falling(count: int = 20) -> list[float]:
    return [2.0 / (1 + 0.1 * index) for index in range(count)]


def test_a_training_as_it_should_be_alarms_nobody():
    steps = [
        {"loss": loss, "grad_norm": 1.0 + 0.1 * (index % 3)}
        for index, loss in enumerate(falling(100))
    ]
    steps[50]["eval_loss"] = 0.4
    assert alarms("SFT", *steps) == []
    pairs = [{**one, "rewards/margins": 0.02 * index} for index, one in enumerate(steps)]
    assert alarms("DPO", *pairs) == []
    rewards = [
        {"reward": 0.01 * index, "kl": 0.01, "frac_reward_zero_std": 0.2, "loss": 0.0}
        for index in range(100)
    ]
    rewards[50]["eval_reward"] = 0.48
    assert alarms("RLVR", *rewards) == []


@pytest.mark.parametrize("technique", ["SFT", "DPO", "RLVR", "RLAIF"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_at_once(technique, value):
    assert alarms(technique, {"loss": 1.0}, {"loss": value}) == [(2, "not_a_number")]


def test_a_gradient_that_is_no_number_stops_the_third_time_in_a_row():
    """A loss scale that adapts has one or two of them."""
    nan = math.nan
    values = series("grad_norm", 1.0, nan, nan, 1.0, nan, nan, nan)
    assert alarms("SFT", *values) == [(7, "gradient_not_a_number")]


def test_a_loss_far_worse_than_guessing_blindly_stops():
    assert alarms("SFT", *series("eval_loss", 17.9)) == []
    assert alarms("SFT", *series("eval_loss", 18.1)) == [(1, "loss_beyond_blind")]
    values = series("loss", 18.1, 18.1, 18.1)
    assert alarms("SFT", *values) == [(3, "training_loss_beyond_blind")]


def test_a_loss_that_explodes_stops_at_the_third_such_log():
    assert alarms("SFT", *series("loss", *falling(), 4.0, 5.0, 6.0)) == [(23, "loss_explosion")]
    assert alarms("DPO", *series("loss", *falling(), 4.0, 5.0, 6.0)) == [(23, "loss_explosion")]
    # One bad batch is no explosion, nor is a jump of what is small by now.
    assert alarms("SFT", *series("loss", *falling(), 4.0, 0.7, 5.0, 6.0)) == []
    assert alarms("SFT", *series("loss", *falling(), *[0.01] * 30, 0.1, 0.1, 0.1)) == []


def test_what_trains_nothing_stops_at_the_fifth_log():
    assert alarms("SFT", *series("loss", 0.0, 0.0, 0.0, 0.0)) == []
    assert alarms("SFT", *series("loss", *[0.0] * 5)) == [(5, "flat_zero_loss")]
    assert alarms("DPO", *series("grad_norm", *[0.0] * 5)) == [(5, "flat_zero_gradient")]
    # The loss of this kind begins at zero and says nothing.
    assert alarms("RLVR", *series("loss", *[0.0] * 9)) == []


def test_a_gradient_norm_far_above_its_median_is_warned_of_once():
    values = series("grad_norm", *[1.0] * 20, *[50.0] * 9)
    assert alarms("SFT", *values) == [(23, "gradient_norm")]


def test_margins_that_have_not_moved_after_half_of_the_steps_are_warned_of():
    flat = [0.001 * (index % 2) for index in range(60)]
    assert alarms("DPO", *series("rewards/margins", *flat)) == [(50, "margin_flat")]
    assert alarms("DPO", *series("rewards/margins", *flat[:49])) == []


def test_ranking_that_gets_worse_or_is_below_chance_is_warned_of():
    name = "eval_rewards/accuracies"
    assert alarms("DPO", *series(name, 0.8, 0.75, 0.69, 0.69)) == [(4, "accuracy_fallen")]
    assert alarms("DPO", *series(name, 0.45, 0.44, 0.46)) == [(3, "accuracy_below_chance")]


@pytest.mark.parametrize("technique", ["RLVR", "RLAIF"])
def test_groups_without_spread_warn_and_then_pause(technique):
    name = "frac_reward_zero_std"
    assert alarms(technique, *series(name, *[0.6] * 9)) == [(5, "some_groups_without_spread")]
    assert alarms(technique, *series(name, *[0.6] * 4, *[0.9] * 5)) == [
        (5, "some_groups_without_spread"),
        (9, "groups_without_spread"),
    ]
    assert alarms(technique, *series(name, 0.9, 0.9, 0.9, 0.9, 0.3, 0.9, 0.9)) == []


def test_clipped_answers_and_drift_are_found():
    values = series("completions/clipped_ratio", 0.4, 0.4, 0.4)
    assert alarms("RLVR", *values) == [(3, "clipped_completions")]
    assert alarms("RLVR", *series("kl", 2.0, 2.0, 2.0)) == [(3, "kl_drift")]
    found = alarms("RLVR", *series("kl", 20.0, 20.0, 20.0))
    assert found == [(3, "kl_drift"), (3, "kl_collapse")]


def test_reward_that_is_earned_in_training_only_warns_or_pauses():
    def run(gap: float, situation: Situation = SITUATION):
        steps = [{"reward": 0.5}, {"reward": 0.5}, {"eval_reward": 0.5 - gap}]
        return alarms("RLVR", *steps, *steps, *steps, situation=situation)

    assert run(0.04) == []
    assert run(0.07) == [(6, "reward_gap")]
    assert run(0.2) == [(6, "reward_gap"), (6, "reward_hacking")]
    # Of 16 prompts a mean is known to about 0.24 only: two standard errors.
    few = replace(SITUATION, validation_count=16)
    assert run(0.2, few) == []
    assert run(0.3, few) == [(6, "reward_gap")]
    assert run(0.4, few) == [(6, "reward_gap"), (6, "reward_hacking")]


def test_a_gap_is_taken_over_what_was_earned_since_the_last_validation():
    early, late = [{"reward": 0.1}] * 50, [{"reward": 0.8}] * 5
    steps = [*early, {"eval_reward": 0.1}, *late, {"eval_reward": 0.4}, *late, {"eval_reward": 0.4}]
    assert (63, "reward_hacking") in alarms("RLVR", *steps)


def test_a_reward_that_is_flat_for_half_of_the_steps_is_warned_of():
    assert alarms("RLVR", *series("reward", *[0.3] * 60)) == [(50, "reward_flat")]


def test_an_alarm_says_the_figure_and_the_remedy():
    dogs = Watchdogs("RLVR", SITUATION)
    for step in range(1, 6):
        found = dogs.look(step, {"frac_reward_zero_std": 0.9})
    warned, paused = found
    assert warned.watchdog.action is Action.WARN
    assert "In 90% of the groups" in warned.message
    assert paused.watchdog.action is Action.PAUSE
    assert paused.watchdog.reason == "NO_REWARD_SPREAD"
    assert "5 logs in a row until step 5" in paused.message
    assert "Train on examples first" in paused.message
    assert paused.figures == {"value": 0.9, "step": 5.0, "threshold": 0.8}
    stopped = Watchdogs("SFT", SITUATION).look(3, {"eval_loss": 20.0})[0]
    assert "20 nats per token at step 3, where guessing blindly has 5.99" in stopped.message
    assert "Lower the learning rate, now 0.003" in stopped.message


def test_every_row_of_the_table_is_sound():
    rows = load_watchdogs()
    assert len({row.name for row in rows}) == len(rows)
    assert {row.rule for row in rows} == set(RULES)
    for row in rows:
        assert set(row.techniques) <= {"SFT", "DPO", "RLVR", "RLAIF"}, row.name
        assert row.logs >= 1
        assert row.reason.isupper()
        assert row.source
        assert row.remedy
        assert len(row.metrics) == 2 or row.rule != "gap"
    assert TABLE.parent.name == "recipes"


def test_every_sentence_can_be_said():
    """Drives each watchdog to its alarm: a brace without a figure would raise."""
    said = set()
    wild = [
        {"loss": math.nan, "eval_loss": 99.0, "grad_norm": math.nan},
        *[{"loss": 99.0, "grad_norm": math.nan}] * 3,
    ]
    zeros = [{"loss": 0.0, "grad_norm": 0.0}] * 6
    rises = [{"loss": 1.0, "grad_norm": 1.0}] * 20 + [{"loss": 9.0, "grad_norm": 99.0}] * 3
    pairs = [{"rewards/margins": 0.0, "eval_rewards/accuracies": 0.7}] * 50
    pairs += [{"rewards/margins": 0.0, "eval_rewards/accuracies": 0.4}] * 3
    reward = {"frac_reward_zero_std": 1.0, "completions/clipped_ratio": 1.0, "kl": 99.0}
    rewards = [{**reward, "reward": 0.5}, {**reward, "eval_reward": 0.1}] * 60
    for technique, steps in (
        ("SFT", wild),
        ("SFT", zeros),
        ("SFT", rises),
        ("DPO", pairs),
        ("RLVR", rewards),
    ):
        said |= {name for _, name in alarms(technique, *steps)}
    assert said == {row.name for row in load_watchdogs()}
