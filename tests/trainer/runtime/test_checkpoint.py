import math
from dataclasses import replace
from pathlib import Path

import pytest

from services.common.artefacts import write_manifest
from services.trainer.attempt import Attempt
from services.trainer.runtime import checkpoint
from services.trainer.runtime.checkpoint import Origin, find_checkpoints, save
from tests.trainer import tiny

ORIGIN = Origin("h" * 64, "r" * 64, 0)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "j1-s0"


def write(run_folder: Path, step: int, fence: int = 1, loss: float = 1.0, origin=ORIGIN):
    attempt = run_folder / f"attempt-{fence:06d}"
    spec = tiny.a_spec("r" * 64, "d" * 64, "e" * 64)
    Attempt.create(attempt, tiny.a_manifest(run_folder, spec, fence))
    scratch = attempt / "scratch" / f"checkpoint-{step}"
    scratch.mkdir(parents=True)
    (scratch / "adapter_model.safetensors").write_bytes(bytes([step]) * 1000)
    (scratch / "optimizer.pt").write_bytes(bytes([step + 1]) * 1000)
    folder = attempt / "checkpoints"
    return save(scratch, folder, origin, step=step, fence=fence, eval_loss=loss)


def steps(run_folder: Path, fence_max: int = 9) -> list[int]:
    return [one.step for one in find_checkpoints(run_folder, ORIGIN, fence_max)[0]]


def test_the_newest_comes_first_over_all_attempts(run_folder):
    for step, fence in ((5, 1), (10, 1), (15, 2)):
        write(run_folder, step, fence)
    assert steps(run_folder) == [15, 10, 5]


def test_newer_fences_are_left_alone(run_folder):
    write(run_folder, 5, 1)
    write(run_folder, 10, 3)
    assert steps(run_folder, fence_max=2) == [5]


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt", "MANIFEST.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
def test_any_damage_to_the_newest_picks_the_one_before_and_is_named(run_folder, name, damage):
    write(run_folder, 5)
    newest = write(run_folder, 10)
    path = newest.folder / name
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "cut":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    found, refused = find_checkpoints(run_folder, ORIGIN, 9)
    assert [one.step for one in found] == [5]
    assert [(one.folder, one.why) for one in refused] == [(newest.folder, "is broken")]


def test_a_checkpoint_that_was_being_written_is_not_seen(run_folder):
    whole = write(run_folder, 5)
    half = whole.folder.parent / ".step-00000010.abc.tmp"
    half.mkdir()
    (half / "optimizer.pt").write_bytes(b"x")
    assert steps(run_folder) == [5]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (replace(ORIGIN, spec_hash="x" * 64), "belongs to another spec"),
        (replace(ORIGIN, base_revision="x" * 64), "belongs to another base model"),
        (replace(ORIGIN, stage_index=1), "belongs to another stage"),
    ],
)
def test_a_checkpoint_of_another_origin_is_refused_with_the_reason(run_folder, other, why):
    foreign = write(run_folder, 5, origin=other)
    found, refused = find_checkpoints(run_folder, ORIGIN, 9)
    assert found == []
    assert [(one.folder, one.why) for one in refused] == [(foreign.folder, why)]


def test_a_checkpoint_in_the_folder_of_another_attempt_is_refused(run_folder):
    moved = write(run_folder, 10, fence=2).folder
    write(run_folder, 5, fence=1)
    moved.rename(run_folder / "attempt-000001" / "checkpoints" / moved.name)
    found, refused = find_checkpoints(run_folder, ORIGIN, 9)
    assert [one.step for one in found] == [5]
    assert [one.why for one in refused] == [
        "was written by attempt 2, not by the one in whose folder it lies"
    ]


def test_a_manifest_that_does_not_say_where_it_belongs_is_refused(run_folder):
    folder = write(run_folder, 5).folder
    write_manifest(folder, {"step": 5})
    found, refused = find_checkpoints(run_folder, ORIGIN, 9)
    assert found == []
    assert [one.why for one in refused] == ["does not say what it belongs to"]


def test_two_newest_and_the_best_are_kept(run_folder):
    saved = [
        write(run_folder, step, loss=loss)
        for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 2.5), (5, 2.2))
    ]
    kept = checkpoint.prune(saved)
    assert [one.step for one in kept] == [2, 4, 5]
    assert steps(run_folder) == [5, 4, 2]


def test_the_best_has_the_least_loss_and_the_earliest_of_equal_ones(run_folder):
    saved = [
        write(run_folder, step, loss=loss)
        for step, loss in ((1, math.inf), (2, 1.5), (3, 1.0), (4, 1.0))
    ]
    assert checkpoint.best(saved).step == 3


def test_the_loss_survives_the_disk_exactly(run_folder):
    write(run_folder, 5, loss=0.1 + 0.2)
    assert find_checkpoints(run_folder, ORIGIN, 9)[0][0].eval_loss == 0.1 + 0.2
