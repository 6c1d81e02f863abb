"""A later stage: the adapter that it begins with, and how it compares with the one before."""

import shutil
from dataclasses import replace

import pytest
from attune.spec.v1.evaluation_pb2 import EvaluationReport
from attune.spec.v1.stage_pb2 import Method

from services.common.artefacts import publish, staging_folder, write_manifest
from services.trainer.attempt import Attempt
from services.trainer.data.rows import read_split, without_repeats
from services.trainer.evaluation.bootstrap import Figure
from services.trainer.evaluation.previous import verdict_of
from services.trainer.phases.chain import adapter_difference, check_chain
from services.trainer.phases.validate import check_spec
from services.trainer.run import RunFailed
from services.trainer.runtime.run_context import RunContext
from services.trainer.runtime.stopping import Signals
from tests.trainer import tiny
from tests.trainer.stages import a_training, same, tensors, train


def a_chain(revision="r", train="t", holdout="h"):
    return tiny.a_preference_spec(revision, train, holdout, after_sft=True)


@pytest.fixture
def earlier(artefacts, revision, saved_model, tmp_path):
    """The hash of a registered adapter of the first stage, after a step of training."""
    one = replace(a_training(saved_model, tmp_path), steps_total=1, evaluation_steps=1)
    return put_adapter(artefacts, train(one, tmp_path / "kept").newest, revision)


def put_adapter(artefacts, source, revision):
    folder = staging_folder(artefacts.adapter("made"))
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copyfile(source / name, folder / name)
    digest = write_manifest(folder, {"base_model_revision": revision, "stage_index": 0})
    publish(folder, artefacts.adapter(digest))
    return digest


@pytest.fixture
def make(tmp_path, artefacts):
    def make(spec, adapter):
        manifest = tiny.a_manifest(tmp_path, spec, stage_index=1, base_adapter_sha256=adapter)
        attempt = Attempt.create(artefacts.attempt(manifest.run_id, 1), manifest)
        return RunContext(attempt, manifest, Signals(), lambda: None)

    return make


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda stage: None, ""),
        (lambda stage: setattr(stage.hyperparameters.lora, "dropout", 0.3), ""),
        (lambda stage: setattr(stage.hyperparameters.lora, "rank", 4), "lora.rank is 4, not 8"),
        (lambda stage: setattr(stage.hyperparameters.lora, "alpha", 4), "alpha is 4, not 16"),
        (
            lambda stage: setattr(stage.hyperparameters.lora, "rank_stabilized", True),
            "rank_stabilized is True, not False",
        ),
        (
            lambda stage: stage.hyperparameters.lora.target_modules.append("q_proj"),
            "target_modules is ['all-linear', 'q_proj'], not ['all-linear']",
        ),
        (
            lambda stage: setattr(stage, "method", Method.METHOD_DORA),
            "method is METHOD_DORA, not METHOD_LORA",
        ),
    ],
)
def test_an_adapter_of_another_shape_is_named(change, words):
    spec = a_chain()
    change(spec.stages[1])
    found = adapter_difference(*spec.stages)
    assert words in found if words else not found


def test_all_weights_make_no_adapter_to_go_on_with():
    spec = a_chain()
    for stage in spec.stages:
        stage.method = Method.METHOD_FULL
    assert adapter_difference(*spec.stages) == "METHOD_FULL makes none"


def test_a_later_stage_with_its_adapter_at_hand_passes(make, earlier, revision):
    check_spec(make(a_chain(revision), earlier))


def test_what_a_later_stage_cannot_begin_with_is_refused(make, earlier, revision, artefacts):
    def reason(spec, adapter):
        with pytest.raises(RunFailed) as caught:
            check_chain(make(spec, adapter))
        return caught.value.reason

    spec = a_chain(revision)
    assert reason(spec, "") == "NO_BASE_ADAPTER"
    assert reason(spec, "0" * 64) == "BASE_ADAPTER_BROKEN"
    assert reason(a_chain("other"), earlier) == "BASE_ADAPTER_FOREIGN"
    other = a_chain(revision)
    other.stages[1].hyperparameters.lora.rank = 4
    assert reason(other, earlier) == "CHAIN_MISMATCH"
    # Whole by its own manifest, but not the one that was named.
    renamed = artefacts.adapter("1" * 64)
    shutil.copytree(artefacts.adapter(earlier), renamed)
    assert reason(spec, renamed.name) == "BASE_ADAPTER_BROKEN"
    weights = artefacts.adapter(earlier) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert reason(spec, earlier) == "BASE_ADAPTER_BROKEN"


def test_settings_that_preferences_cannot_be_learnt_with_are_refused(make, earlier, revision):
    spec = a_chain(revision)
    spec.stages[1].hyperparameters.dpo.loss_type = "exo_pair"
    with pytest.raises(RunFailed, match=r"label_smoothing above 0\. Set 0\.001"):
        check_spec(make(tiny.approved(spec), earlier))


@pytest.mark.parametrize(
    ("low", "high", "lower_is_better", "verdict"),
    [
        (0.1, 0.3, False, "BETTER"),
        (-0.3, -0.1, False, "WORSE"),
        (0.1, 0.3, True, "WORSE"),
        (-0.3, -0.1, True, "BETTER"),
        (-0.1, 0.1, False, "CANNOT_TELL"),
        (0.0, 0.0, True, "CANNOT_TELL"),
    ],
)
def test_a_stage_is_judged_by_the_side_of_the_whole_interval(low, high, lower_is_better, verdict):
    found = verdict_of(Figure((low + high) / 2, low, high), lower_is_better=lower_is_better)
    assert found == EvaluationReport.Verdict.Value(f"VERDICT_{verdict}")


def test_supervised_training_goes_on_with_the_adapter_of_the_stage_before(
    saved_model, artefacts, earlier, tmp_path
):
    folder = artefacts.adapter(earlier)
    one = a_training(saved_model, tmp_path / "second", learning_rate=1e-9)
    one = replace(one, base_adapter=folder, steps_total=1, evaluation_steps=1)
    ended = tensors(train(one, tmp_path / "second-kept").newest)
    begun = tensors(folder)
    assert ended.keys() == begun.keys()
    assert all((ended[name] - begun[name]).abs().max() < 1e-6 for name in begun)
    assert not same(begun, tensors(train(a_training(saved_model, tmp_path), tmp_path / "n").newest))


def test_both_stages_hold_out_the_same_pairs(artefacts):
    content = tiny.pairs(20)
    content.append({**content[0], "rejected": [{"role": "assistant", "content": "no"}]})
    content.append(content[1])
    spec = a_chain(train=tiny.put_rows(artefacts, content))
    spec.data.split_method = spec.data.SPLIT_METHOD_RANDOM
    spec.data.drop_repeated_rows = True
    first, second = (read_split(artefacts, spec.data, one.technique) for one in spec.stages)
    assert [row.line for row in first.holdout] == [row.line for row in second.holdout]
    assert [row.line for row in first.train] == [row.line for row in second.train]
    rows = sorted([*first.train, *first.validation, *first.holdout], key=lambda row: row.line)
    # The pair with another rejected answer is no repeat.
    assert len(rows) == len(without_repeats(rows))
    assert 21 in {row.line for row in rows}
    assert 22 not in {row.line for row in rows}
