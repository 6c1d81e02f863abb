"""What holds for demonstrations holds for the other techniques: probes, samples, kills."""

import signal

import pytest

from services.trainer.attempt import LOG, METRICS, TRAINING_SAMPLES
from services.trainer.run import ExitCode, Phase
from tests.trainer import hooks, tiny, tiny_rl
from tests.trainer.short_runs import ShortRuns, preferring, reinforced

pytestmark = pytest.mark.system

GIB = 1024**3
MAKERS = {"pairs": preferring, "rewards": reinforced}


def placements():
    """Return a placement where memory is plenty, and one where it is tried."""
    for technique, plenty in (("pairs", tiny.a_placement()), ("rewards", tiny_rl.a_placement())):
        tight = type(plenty)()
        tight.CopyFrom(plenty)
        tight.memory.high_bytes, tight.memory.capacity_bytes = 3 * GIB, 4 * GIB
        yield technique, plenty, tight


@pytest.mark.parametrize(
    ("technique", "plenty", "tight"), list(placements()), ids=["pairs", "rewards"]
)
def test_a_probed_sampled_and_killed_run_has_the_weights_of_one_left_alone(
    tmp_path, forks, saved_model, two_way_model, technique, plenty, tight
):
    model = two_way_model if technique == "rewards" else saved_model
    runs = ShortRuns(tmp_path, model, MAKERS[technique])
    # So few answers so short may ask whether to train at all.
    decided = {"waived_reasons": ("TARGET_MET", "NO_SPREAD", "NO_REWARD_SPREAD")}
    whole, code = runs.finish("whole", 1, placement=plenty, hook=hooks.take_no_samples, **decided)
    assert code == ExitCode.SUCCEEDED, (whole.error(), (whole.folder / LOG).read_text())
    assert whole.result(Phase.VALIDATE)["probed_bytes"] == 0

    first, code = runs.finish(
        "killed",
        1,
        placement=tight,
        crash_at="train.step:3",
        hook=hooks.take_every_sample,
        **decided,
    )
    assert code == -signal.SIGKILL, (first.error(), (first.folder / LOG).read_text())
    assert first.result(Phase.VALIDATE)["probed_bytes"] > 0
    second, code = runs.finish(
        "killed", 2, placement=tight, hook=hooks.take_every_sample, **decided
    )
    assert code == ExitCode.SUCCEEDED, (second.error(), (second.folder / LOG).read_text())
    assert second.result(Phase.TRAIN)["resumed_step"] == 2
    assert runs.weights_sha256(second) == runs.weights_sha256(whole)
    samples = second.lines(TRAINING_SAMPLES, 0)[0]
    evaluated = [one["step"] for one in second.lines(METRICS, 0)[0] if "eval_loss" in one["values"]]
    assert sorted({one["step"] for one in samples}) == evaluated
    assert all(one["prompt"] for one in samples)
