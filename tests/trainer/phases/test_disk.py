import errno
import shutil

import pytest
from attune.spec.v1.compute_pb2 import ModelShape
from attune.spec.v1.stage_pb2 import Method, Stage

from services.common.artefacts import read_manifest
from services.trainer.attempt import LOG, Attempt
from services.trainer.phases.disk import (
    CHECKPOINTS_MAX,
    SPARE_BYTES,
    TRAINED_BYTES,
    bytes_needed,
    is_disk_full,
    trained_count,
)
from services.trainer.run import DISK_FULL, ExitCode, Phase
from services.trainer.supervisor import outcome
from tests.trainer import hooks, tiny

SHAPE = ModelShape(
    parameter_count=1_000_000,
    layer_count=2,
    hidden_size=64,
    intermediate_size=128,
    head_count=2,
    kv_head_count=2,
    vocabulary_size=400,
)


def a_stage(method: Method.ValueType, rank: int = 8) -> Stage:
    stage = Stage(method=method)
    stage.hyperparameters.lora.rank = rank
    return stage


def test_an_adapter_is_reckoned_as_wide_as_the_library_makes_it(saved_model):
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from services.trainer.recipes.model import lora

    for method in (Method.METHOD_LORA, Method.METHOD_DORA):
        stage = a_stage(method)
        values = stage.hyperparameters.lora
        values.alpha = 16
        values.target_modules.append("all-linear")
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(saved_model),
            lora(values, has_magnitudes=method == Method.METHOD_DORA),
        )
        assert trained_count(SHAPE, stage) == model.get_nb_trainable_parameters()[0]


def test_all_weights_take_all_weights():
    stage = a_stage(Method.METHOD_FULL)
    assert trained_count(SHAPE, stage) == SHAPE.parameter_count
    expected = CHECKPOINTS_MAX * 1_000_000 * TRAINED_BYTES + SPARE_BYTES
    assert bytes_needed(SHAPE, stage) == expected


def test_heads_wider_than_the_model_are_reckoned_with():
    wide = ModelShape()
    wide.CopyFrom(SHAPE)
    wide.head_size = 64
    stage = a_stage(Method.METHOD_LORA)
    assert trained_count(wide, stage) > trained_count(SHAPE, stage)


def behind(error: Exception) -> Exception:
    wrapped = RuntimeError("could not save")
    wrapped.__cause__ = error
    return wrapped


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (behind(OSError(errno.ENOSPC, "full")), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (RuntimeError("PytorchStreamWriter failed writing file data/0"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("shape mismatch"), False),
    ],
)
def test_a_full_disk_is_told_from_other_errors(error, expected):
    assert is_disk_full(error) is expected


def is_mountable(tmp_path) -> bool:
    """Try in a process of its own: what it unshares is gone with it."""
    from multiprocessing import get_context

    process = get_context("forkserver").Process(target=hooks.mount_small, args=(tmp_path, 65536))
    process.start()
    process.join()
    return process.exitcode == 0


@pytest.mark.system
@pytest.mark.parametrize(("room", "kept_count"), [(0.5, 0), (1.5, 1), (2.5, 2)])
def test_a_disk_that_fills_up_is_named_and_the_next_attempt_goes_on(
    short_runs, whole_run, tmp_path, room, kept_count
):
    """A real file system with so little room; a third one is begun before the first goes."""
    if not is_mountable(tmp_path):
        pytest.skip("this system lets tests mount nothing")
    job, shown = f"full-{kept_count}", tmp_path / "shown" / "attempt-000001"
    shown.parent.mkdir()
    one = max(whole_run.checkpoints.iterdir())
    size = int(sum(path.stat().st_size for path in one.iterdir()) * room)
    folder = short_runs.artefacts.attempt(f"{job}-s0", 1)
    first, code = short_runs.finish(
        job, 1, hook=hooks.put_on_a_small_disk, arguments=(folder, size, shown)
    )
    assert code == ExitCode.DISK_FULL, (shown / LOG).read_text()
    assert not (shown / "scratch").exists()
    kept = list((shown / "checkpoints").glob("*"))
    assert len(kept) == kept_count
    assert all(read_manifest(checkpoint) is not None for checkpoint in kept)
    assert Attempt(shown).error()["reason"] == DISK_FULL
    request = outcome(tiny.a_lease(short_runs.spec), first, code)
    assert request.outcome == request.OUTCOME_LOST
    assert "Make room" in request.error.message
    shutil.copytree(shown, folder, dirs_exist_ok=True)
    second, code = short_runs.finish(job, 2)
    assert code == ExitCode.SUCCEEDED
    assert second.result(Phase.TRAIN)["resumed_step"] == kept_count
    assert short_runs.weights_sha256(second) == short_runs.weights_sha256(whole_run)
