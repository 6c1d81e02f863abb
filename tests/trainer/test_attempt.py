from datetime import UTC, datetime, timedelta

import pytest

from services.trainer.attempt import METRICS, PROGRESS, Attempt, list_attempts
from services.trainer.run import Manifest, Phase, Progress
from tests.trainer import tiny


@pytest.fixture
def attempt(tmp_path):
    spec = tiny.a_spec("r" * 64, "d" * 64, "e" * 64)
    folder = tmp_path / "runs" / "j1-s0" / "attempt-000003"
    return Attempt.create(folder, tiny.a_manifest(tmp_path, spec, 3))


def test_the_manifest_comes_back_equal(attempt):
    manifest = attempt.manifest()
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert (manifest.fence, manifest.run_id, manifest.cpus) == (3, "j1-s0", (0,))


def test_a_manifest_that_is_none_raises_value_error():
    for text in ("{", "{}", '{"run": "x"}', "[]"):
        with pytest.raises(ValueError):  # noqa: PT011
            Manifest.from_json(text)


def test_phases_have_begin_and_end(attempt):
    attempt.begin_phase(Phase.VALIDATE)
    attempt.end_phase(Phase.VALIDATE)
    attempt.begin_phase(Phase.BASELINE)
    first, second = attempt.phases()
    assert (first.phase, second.phase) == (Phase.VALIDATE, Phase.BASELINE)
    assert first.start_time <= first.end_time <= second.start_time
    assert second.end_time is None


def test_progress_counts_the_estimate_down(attempt):
    attempt.report(Progress(Phase.TRAIN, 3, 10, 1.5, 100.0))
    attempt.report(Progress(Phase.TRAIN, 4, 10, 1.25, 60.0))
    later = datetime.now(UTC) + timedelta(seconds=20)
    progress = attempt.progress(later)
    assert (progress.done, progress.total, progress.loss) == (4, 10, 1.25)
    assert progress.remaining_s == pytest.approx(40.0, abs=1.0)
    assert attempt.progress(later + timedelta(hours=1)).remaining_s == 0.0


def test_progress_is_found_at_the_end_of_a_long_list(attempt):
    for step in range(500):
        attempt.report(Progress(Phase.TRAIN, step, 500, 1.0, None))
    assert attempt.progress(datetime.now(UTC)).done == 499


def test_lines_are_read_on_from_an_offset_and_unfinished_ones_wait(attempt):
    attempt.log_metrics(1, {"loss": 2.0})
    lines, offset = attempt.lines(METRICS, 0)
    assert [line["step"] for line in lines] == [1]
    with (attempt.folder / METRICS).open("ab") as file:
        file.write(b'{"step": 2, "val')
    assert attempt.lines(METRICS, offset) == ([], offset)
    with (attempt.folder / METRICS).open("ab") as file:
        file.write(b'ues": {}, "time": "x"}\n')
    assert [line["step"] for line in attempt.lines(METRICS, offset)[0]] == [2]


def test_results_appear_whole_and_missing_ones_are_none(attempt):
    assert attempt.result(Phase.BASELINE) is None
    assert attempt.outcome() is attempt.error() is attempt.tracking() is None
    attempt.write_result(Phase.BASELINE, {"base_scores": [0.5]})
    attempt.write_error("DIVERGED", "loss is nan")
    attempt.write_outcome("FAILED")
    attempt.write_tracking("r1", "http://x", closed=True)
    assert attempt.result(Phase.BASELINE) == {"base_scores": [0.5]}
    assert attempt.error() == {"reason": "DIVERGED", "message": "loss is nan"}
    assert attempt.outcome() == "FAILED"
    assert attempt.tracking() == {"run": "r1", "uri": "http://x", "closed": True}
    assert not list(attempt.folder.glob(".*.tmp"))


def test_an_empty_attempt_has_no_progress(attempt):
    assert attempt.progress(datetime.now(UTC)) is None
    assert attempt.phases() == []
    (attempt.folder / PROGRESS).write_text("")
    assert attempt.progress(datetime.now(UTC)) is None


def test_attempts_are_listed_newest_first_and_only_begun_ones(attempt, tmp_path):
    run_folder = attempt.folder.parent
    spec = tiny.a_spec("r" * 64, "d" * 64, "e" * 64)
    for fence in (1, 12):
        folder = run_folder / f"attempt-{fence:06d}"
        Attempt.create(folder, tiny.a_manifest(tmp_path, spec, fence))
    (run_folder / "attempt-000020").mkdir()
    assert [one.fence for one in list_attempts(run_folder)] == [12, 3, 1]
    assert [one.fence for one in list_attempts(run_folder, 3)] == [3, 1]
    assert list_attempts(run_folder.parent / "other") == []


def test_what_is_half_written_goes_and_checkpoints_stay(attempt):
    whole = attempt.checkpoints / "step-00000001"
    halves = [
        attempt.folder / "scratch" / "checkpoint-2",
        attempt.folder / "probe",
        attempt.checkpoints / ".step-00000002.abcd.tmp",
    ]
    for folder in [whole, *halves]:
        folder.mkdir(parents=True)
        (folder / "optimizer.pt").write_bytes(b"x")
    attempt.discard_half_written()
    assert [path for path in halves if path.exists()] == []
    assert (whole / "optimizer.pt").exists()
    assert attempt.manifest() is not None
