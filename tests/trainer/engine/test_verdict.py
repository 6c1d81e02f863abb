"""What the ends of several processes mean."""

import pytest

from services.trainer.attempt import Attempt
from services.trainer.engine.verdict import explain, verdict
from services.trainer.run import ExitCode


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([None], None),
        ([None, None], None),
        ([0], 0),
        # Followers end with training, the first process evaluates.
        ([None, ExitCode.SUCCEEDED], None),
        ([None, ExitCode.CANCELLED], None),
        ([ExitCode.PAUSED, ExitCode.CANCELLED], ExitCode.PAUSED),
        ([ExitCode.SUCCEEDED, None], ExitCode.SUCCEEDED),
        ([ExitCode.FAILED, None], ExitCode.FAILED),
        ([None, None, ExitCode.CRASHED], ExitCode.CRASHED),
        ([None, -9], ExitCode.CRASHED),
        ([-9, None], -9),
    ],
)
def test_the_first_process_says_how_it_ended_unless_another_broke(codes, expected):
    assert verdict(codes) == expected


def test_a_reason_is_believed_before_a_crash_that_followed_from_it(tmp_path):
    attempt, follower = Attempt(tmp_path), Attempt(tmp_path / "rank-1")
    follower.folder.mkdir()
    explain(attempt, 2, "PROCESS_LOST", "A machine was lost.")
    assert attempt.error() == {"reason": "PROCESS_LOST", "message": "A machine was lost."}

    attempt.write_error("CRASHED", "Connection closed by peer.")
    explain(attempt, 2, "CRASHED", "No word.")
    assert attempt.error()["message"] == "Connection closed by peer."
    explain(attempt, 2, "PROCESS_LOST", "A machine was lost.")
    assert attempt.error()["reason"] == "PROCESS_LOST"

    attempt.write_error("CRASHED", "Connection closed by peer.")
    follower.write_error("OUT_OF_MEMORY", "CUDA out of memory.", done=3, peak_bytes=7)
    explain(attempt, 2, "CRASHED", "No word.")
    assert attempt.error() == {
        "reason": "OUT_OF_MEMORY",
        "message": "CUDA out of memory.",
        "done": 3,
        "peak_bytes": 7,
    }
